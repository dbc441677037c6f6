"""MQTT over WebSocket: the protocol of one connection, and its place between transport and channel."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from websockets.exceptions import InvalidUpgrade
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import CONNECTING, OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from ..engine.channel import LINGER
from .tcp import Accept, TcpConnection

SUBPROTOCOLS = (Subprotocol("mqtt"), Subprotocol("mqttv3.1"))  # [MQTT-6.0.0-3]
MIN_MESSAGE = 64 * 1024
"""A message may hold several packets: this much of them is taken however small packets have to be."""
MAX_FRAME = 256 * 1024
"""More than this is sent in several messages: clients bound what they take, too."""

_frames_log = logging.getLogger(__name__ + ".frames")
_frames_log.setLevel(logging.WARNING)  # the library has a line for each connection


ANY_PATH = "*"


class WebSocket:
    """The server's side of one connection, without a socket: :meth:`receive` takes what came from the
    network and returns the MQTT bytes in it, :meth:`send` takes MQTT bytes; :meth:`to_write` is what
    the network is to get after either."""

    __slots__ = ("_answer", "_path", "_protocol", "finished")

    def __init__(self, path: str, max_packet_size: int) -> None:
        self._path = path.rstrip("/") or "/"
        self._protocol = ServerProtocol(
            subprotocols=SUBPROTOCOLS, max_size=max(max_packet_size, MIN_MESSAGE), logger=_frames_log
        )
        self._answer = b""
        """What is said to a request that is not let in."""
        self.finished = False
        """Whether the connection is over: to be closed once :meth:`to_write` is written."""

    def receive(self, data: bytes) -> bytes:
        """The MQTT bytes of whole frames; frames and packets need not begin together [MQTT-6.0.0-2]."""
        protocol = self._protocol
        if self.finished:
            return b""
        if protocol.state is CONNECTING and data[0] < 0x20 and data[:1] not in b"\r\n\t":
            text = "This address speaks MQTT over WebSocket, and this is not HTTP.\n"
            self._reject(protocol.reject(HTTPStatus.BAD_REQUEST, text))
            return b""
        protocol.receive_data(data)
        events = protocol.events_received()
        if events and isinstance(events[0], Request):
            self._shake_hands(events[0], alone=len(events) == 1 and not protocol.eof_sent)
        elif protocol.handshake_exc is not None:
            cause = protocol.handshake_exc.__cause__ or protocol.handshake_exc
            text = f"This is no WebSocket handshake: {cause}.\n"
            self._reject(protocol.reject(HTTPStatus.BAD_REQUEST, text))
        else:
            return self._payload(events)
        return b""

    def send(self, data: bytes) -> None:
        """Put MQTT bytes into binary messages [MQTT-6.0.0-1]; nowhere once the connection is closing."""
        if self._protocol.state is OPEN:
            for start in range(0, len(data), MAX_FRAME):
                self._protocol.send_binary(data[start : start + MAX_FRAME])

    def close(self) -> bool:
        """Say that this is the end; whether the client is to say so too before the connection is closed."""
        if self._protocol.state is OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            return True
        return False

    def to_write(self) -> bytes:
        answer, self._answer = self._answer, b""
        return b"".join(self._protocol.data_to_send()) + answer

    def _payload(self, events: list[Request | Response | Frame]) -> bytes:
        chunks = []
        for frame in events:
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.BINARY or frame.opcode is Opcode.CONT:
                chunks.append(frame.data)
            elif frame.opcode is Opcode.TEXT:  # [MQTT-6.0.0-1]
                if not self._protocol.eof_sent:
                    self._protocol.fail(CloseCode.UNSUPPORTED_DATA, "MQTT is sent in binary frames")
                break
        self.finished = self._protocol.eof_sent
        return bytes(chunks[0]) if len(chunks) == 1 else b"".join(chunks)

    def _shake_hands(self, request: Request, *, alone: bool) -> None:
        protocol = self._protocol
        response = protocol.accept(request)
        refused = protocol.handshake_exc
        if isinstance(refused, InvalidUpgrade):
            text = f"This is MQTT over WebSocket, at {self._path}: it takes an MQTT client, not a browser.\n"
            response = protocol.reject(HTTPStatus.UPGRADE_REQUIRED, text)
            response.headers["Upgrade"] = "websocket"
        elif self._path not in (ANY_PATH, request.path.partition("?")[0].rstrip("/") or "/"):
            text = f"Nothing is served at this path; MQTT over WebSocket is at {self._path}.\n"
            response = protocol.reject(HTTPStatus.NOT_FOUND, text)
        elif refused is None and not alone:
            text = "More came after the handshake before it was answered (RFC 6455, section 4.1).\n"
            response = protocol.reject(HTTPStatus.BAD_REQUEST, text)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            protocol.send_response(response)  # [MQTT-6.0.0-4]
        else:
            self._reject(response)

    def _reject(self, response: Response) -> None:
        """Not by the library's means: it may have given the connection up already."""
        self._protocol.data_to_send()
        self._answer = response.serialize()
        self.finished = True


class WebSocketConnection(TcpConnection):
    """Between asyncio's transport and the channel, which sees MQTT bytes only."""

    __slots__ = ("_websocket",)

    def __init__(self, accept: Accept, path: str, max_packet_size: int) -> None:
        super().__init__(accept)
        self._websocket = WebSocket(path, max_packet_size)

    def data_received(self, data: bytes) -> None:
        packets = self._websocket.receive(data)
        self._flush()
        super().data_received(packets)  # also nothing: pongs may pile up that nobody reads
        if self._websocket.finished:
            super().close()

    def write(self, data: bytes) -> None:
        self._websocket.send(data)
        self._flush()

    def close(self) -> None:
        if self._websocket.close():
            self._flush()
            self.resume_reading()  # for the client's Close frame
            asyncio.get_running_loop().call_later(LINGER, self.abort)
        else:
            super().close()

    def _flush(self) -> None:
        data = self._websocket.to_write()
        if data:
            super().write(data)
