"""A blocking client that sends exactly the bytes an attack wants."""

from __future__ import annotations

import base64
import os
import socket
import struct
from typing import Any

from pybroker.broker.packets.encoder import encode
from pybroker.broker.packets.model import Connect, Subscribe, SubscribeFilter

TIMEOUT = 60.0
PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"


class Wire:
    """One connection of the attacker."""

    def __init__(self, port: int, *, receive_buffer: int = 0, source: str = "127.0.0.1") -> None:
        self.socket = socket.socket()
        self.socket.bind((source, 0))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def connect(self, client_id: str, version: int = 4, **fields: Any) -> int:
        """Send CONNECT. Returns the reason or return code of CONNACK, or -1 if the connection ends
        instead."""
        self.send(encode(Connect("MQTT", version, True, 0, client_id, **fields), version))
        answer = self.packet()
        return answer[-1 if version != 5 else _body_at(answer) + 1] if answer else -1

    def subscribe(self, *filters: str, qos: int = 0, version: int = 4) -> bytes:
        """Send SUBSCRIBE. Returns the whole SUBACK."""
        self.send(encode(Subscribe(1, [SubscribeFilter(f, qos) for f in filters]), version))
        while (packet := self.packet()) and packet[0] != 0x90:
            pass
        return packet

    def send(self, data: bytes) -> bool:
        """Send bytes. Returns False if the broker has closed the connection."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def packet(self) -> bytes:
        """The next packet; empty if the connection has ended."""
        head = self.read(2)
        while head and head[-1] & 0x80:
            head += self.read(1)
        length = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(head[1:]))
        return head + self.read(length)

    def read(self, size: int) -> bytes:
        """``size`` bytes, or fewer at the end of the connection."""
        data = bytearray()
        try:
            while len(data) < size and (more := self.socket.recv(min(size - len(data), 1 << 20))):
                data += more
        except ConnectionResetError:
            pass
        return bytes(data)

    def ping(self) -> bool:
        """Send PINGREQ and wait for the answer, so that all sent packets are handled. Returns whether the
        connection is still open. Other packets are ignored."""
        if not self.send(PINGREQ):
            return False
        while packet := self.packet():
            if packet == PINGRESP:
                return True
        return False

    def shake_hands(self) -> None:
        """Do the handshake of a WebSocket."""
        key = base64.b64encode(os.urandom(16)).decode()
        self.send(
            f"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: mqtt\r\n\r\n".encode()
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.read(1)


def frame(opcode: int, payload: bytes) -> bytes:
    """A WebSocket frame of a client, whose mask is 0."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes((0x80 | opcode,)) + length + bytes(4) + payload


def publish(
    topic: bytes, payload: bytes = b"", *, qos: int = 0, packet_id: int = 1, retain: bool = False
) -> bytes:
    """PUBLISH of MQTT 3.1.1."""
    body = struct.pack("!H", len(topic)) + topic
    if qos:
        body += struct.pack("!H", packet_id)
    body += payload
    return bytes((0x30 | qos << 1 | retain,)) + length_of(len(body)) + body


def length_of(value: int) -> bytes:
    """A variable byte integer."""
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _body_at(packet: bytes) -> int:
    at = 1
    while packet[at] & 0x80:
        at += 1
    return at + 1
