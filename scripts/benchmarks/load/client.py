"""A blocking MQTT client, just enough to set a measurement up, and packets as bytes.

It shares no code with the broker: what measures must not have the faults of what is measured.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

Address = tuple[str, int]
FILTERS_A_PACKET = 50
KEEPALIVE = 600
DISCONNECT = b"\xe0\x00"
PINGREQ = b"\xc0\x00"


class Client:
    """A connection that was accepted. Raises OSError or RuntimeError where it is not."""

    def __init__(self, address: Address, client_id: str, version: int = 4, *, keeps: bool = False) -> None:
        """``keeps``: use the session of the last connection, and leave one to the next."""
        self.version = version
        self.socket = socket.create_connection(address, timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clean_start = 0 if keeps else 2
        expiry = b"\x05\x11" + struct.pack(">I", 3600) if keeps and version == 5 else self.no_properties
        body = utf8("MQTT") + struct.pack(">BBH", version, clean_start, KEEPALIVE)
        self.send(packet(0x10, body + expiry + utf8(client_id)))
        kind, connack = self.receive()
        if kind != 0x20 or connack[1]:
            raise RuntimeError(f"the broker refused {client_id}: {kind:#x} {connack!r}")

    @property
    def no_properties(self) -> bytes:
        return b"\x00" if self.version == 5 else b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> tuple[int, bytes]:
        """The next packet: its first byte, and what follows its length."""
        kind = self._exactly(1)[0]
        length = shift = 0
        while True:
            digit = self._exactly(1)[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return kind, self._exactly(length)

    def subscribe(self, filters: Sequence[str], qos: int = 0) -> None:
        for first in range(0, len(filters), FILTERS_A_PACKET):
            self.send(self.subscribe_packet(filters[first : first + FILTERS_A_PACKET], qos))
            kind, suback = self.receive()
            reasons = suback[3 if self.version == 5 else 2 :]
            if kind != 0x90 or max(reasons) > 2:
                raise RuntimeError(f"the broker refused a subscription: {kind:#x} {suback!r}")

    def subscribe_packet(self, filters: Sequence[str], qos: int = 0) -> bytes:
        body = struct.pack(">H", 1) + self.no_properties
        return packet(0x82, body + b"".join(utf8(one) + bytes([qos]) for one in filters))

    def settle(self, timeout: float) -> None:
        """Return once the broker has read everything that was sent: it answers PINGREQ last."""
        self.socket.settimeout(timeout)
        self.send(PINGREQ)
        self.receive()

    def close(self) -> None:
        self.send(DISCONNECT)
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("the broker closed the connection")
            data += more
        return data


def publish_packet(
    topic: str, size: int, qos: int = 0, version: int = 4, packet_id: int = 0, *, retain: bool = False
) -> bytes:
    """A PUBLISH with ``size`` bytes of payload."""
    body = utf8(topic) + (struct.pack(">H", packet_id) if qos else b"") + (b"\x00" if version == 5 else b"")
    return packet(0x30 | qos << 1 | retain, body + b"x" * size)


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + variable_length(len(body)) + body


def variable_length(number: int) -> bytes:
    encoded = bytearray()
    while True:
        number, digit = divmod(number, 128)
        encoded.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(encoded)


def utf8(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data
