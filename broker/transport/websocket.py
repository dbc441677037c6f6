"""MQTT over WebSocket: the protocol of one connection, between transport and channel."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from websockets.exceptions import InvalidUpgrade
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN, Protocol, Side
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel for this system
    from websockets.utils import apply_mask

from ..engine import client_log
from ..engine.channel import LINGER
from ..printable import printable
from .tcp import Accept, TcpConnection

SUBPROTOCOLS = (Subprotocol("mqtt"), Subprotocol("mqttv3.1"))  # [MQTT-6.0.0-3]
ANY_PATH = "*"
"""The value for every path."""
DEFAULT_PATHS = ("/mqtt", "/")
"""The paths that are served without a configured path: the usual one of clients, and NanoMQ's."""
MIN_MESSAGE = 64 * 1024
"""A message may hold several packets: this much of them is taken however small packets have to be."""
MAX_HEAD = 16 * 1024
"""Of a handshake."""
MAX_BEFORE_CONNECT = 1 << 20
"""Bytes that may come until somebody has said a name; a CONNECT is half as large at most."""
TURN = 4 * 1024
"""In place of `tcp.TURN`: a frame, be it empty, takes as long as several packets."""
BINARY_MESSAGE, FINAL, CONTROL = 0x82, 0x80, 0x08
"""The first byte of a binary message in one frame, and bits of the first byte."""
MAX_FRAME = 256 * 1024
"""The largest WebSocket message; more is sent in several, because clients bound their size too."""

_quiet = logging.getLogger(__name__ + ".library")
_quiet.setLevel(
    logging.CRITICAL
)  # it has lines for each connection, and tracebacks for what clients do wrong


class WebSocket:
    """The server's side of one connection, without a socket: :meth:`receive` takes what came from the
    network and returns the MQTT bytes in it, :meth:`send` takes MQTT bytes; :meth:`to_write` is what
    the network is to get after either."""

    __slots__ = (
        "_answer",
        "_fragmented",
        "_frames",
        "_head",
        "_max_message",
        "_missing",
        "_paths",
        "_rest",
        "complaint",
        "finished",
        "frames_received",
    )

    def __init__(self, path: str, max_packet_size: int) -> None:
        """``path`` is ANY_PATH, or the one path that is served; empty: DEFAULT_PATHS."""
        self._paths = (path.rstrip("/") or "/",) if path else DEFAULT_PATHS
        self._max_message = max(max_packet_size, MIN_MESSAGE)
        self._head = bytearray()
        """The received part of the handshake."""
        self._answer = b""
        self._frames: Protocol | None = None
        """Once the handshake is done."""
        self._rest = b""
        """The start of a frame whose header has not come to its end."""
        self._missing = 0
        """Bytes of the present frame that are still to come, for the library."""
        self._fragmented = False
        """Whether the message goes on in another frame."""
        self.frames_received = 0
        """How many the last call of :meth:`receive` has brought."""
        self.finished = False
        """Whether the connection is over: to be closed once :meth:`to_write` is written."""
        self.complaint = ""
        """The client's error, if it ended the connection."""

    def receive(self, data: bytes) -> bytes:
        """The MQTT bytes of whole frames; frames and packets need not begin together [MQTT-6.0.0-2]."""
        self.frames_received = 0
        if self._frames is None and not self.finished:
            data = self._receive_head(data)
        if self._frames is None or self.finished or not data:
            return b""
        chunks: list[bytes] = []
        self._receive_frames(self._frames, data, chunks)
        self.finished = self._frames.eof_sent
        if self.finished and not self._frames.close_rcvd and self._frames.close_sent is not None:
            self.complaint = f"it broke the WebSocket protocol: {self._frames.close_sent}"
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _receive_frames(self, frames: Protocol, data: bytes, chunks: list[bytes]) -> None:
        """Append the payloads to ``chunks``. Whole binary messages in one frame, as nearly all are, are read
        here, which is several times as fast. The library reads everything else."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        pos, end = 0, len(data)
        while pos < end and not frames.eof_sent:
            if self._missing:
                stop = min(end, pos + self._missing)
                self._missing -= stop - pos
                self._pass_on(frames, data[pos:stop], chunks)
                pos = stop
                continue
            payload = _payload_at(data, pos, end)
            if payload < 0:
                self._rest = data[pos:]
                return
            first, masked = data[pos], data[pos + 1] & 0x80
            size = _payload_size(data, pos)
            stop = payload + size
            whole = stop <= end and size <= self._max_message
            if first == BINARY_MESSAGE and masked and whole and not self._fragmented:
                chunks.append(apply_mask(data[payload:stop], data[payload - 4 : payload]))
                self.frames_received += 1
                pos = stop
                continue
            if not first & CONTROL:
                self._fragmented = not first & FINAL
            self._missing = stop - pos

    def _pass_on(self, frames: Protocol, data: bytes, chunks: list[bytes]) -> None:
        """Have the library read ``data``."""
        frames.receive_data(data)
        for frame in frames.events_received():
            self.frames_received += 1
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.BINARY or frame.opcode is Opcode.CONT:
                chunks.append(bytes(frame.data))
            elif frame.opcode is Opcode.TEXT:  # [MQTT-6.0.0-1]
                if not frames.eof_sent:
                    frames.fail(CloseCode.UNSUPPORTED_DATA, "MQTT is sent in binary frames")
                return

    def send(self, data: bytes) -> None:
        """Put MQTT bytes into binary messages [MQTT-6.0.0-1]; nowhere while the connection is not open."""
        if self._frames is not None and self._frames.state is OPEN:
            for start in range(0, len(data), MAX_FRAME):
                self._frames.send_binary(data[start : start + MAX_FRAME])

    def close(self) -> bool:
        """Say that this is the end; whether the client is to say so too before the connection is closed."""
        if self._frames is not None and self._frames.state is OPEN:
            self._frames.send_close(CloseCode.NORMAL_CLOSURE)
            return True
        return False

    def to_write(self) -> bytes:
        answer, self._answer = self._answer, b""
        return b"".join((answer, *self._frames.data_to_send())) if self._frames is not None else answer

    def _receive_head(self, data: bytes) -> bytes:
        """The bytes after the handshake, once it is complete."""
        self._head += data
        end = self._head.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(self._head) > MAX_HEAD:
                self._shake_hands(_refusal(HTTPStatus.BAD_REQUEST, "This handshake is too long.\n"))
            elif self._head[0] < 0x20:  # no letter: bare MQTT, or TLS
                text = "This address speaks MQTT over WebSocket, and this is not HTTP.\n"
                self._shake_hands(_refusal(HTTPStatus.BAD_REQUEST, text))
            return b""
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        self._head = bytearray()
        self._shake_hands(answer(head, self._paths))
        return rest

    def _shake_hands(self, response: Response) -> None:
        self._answer = response.serialize()
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._frames = Protocol(Side.SERVER, max_size=self._max_message, logger=_quiet)
        else:
            self.finished = True
            self.complaint = response.body.decode().strip()


def _payload_at(data: bytes, pos: int, end: int) -> int:
    """Where the payload of the frame at ``pos`` begins (RFC 6455, section 5.2); -1 where its header is not
    complete."""
    if end - pos < 2:
        return -1
    length = data[pos + 1]
    start = pos + 2 + (4 if length & 0x80 else 0)
    length &= 0x7F
    if length >= 126:
        start += 2 if length == 126 else 8
    return start if start <= end else -1


def _payload_size(data: bytes, pos: int) -> int:
    """Bytes of the payload of the frame at ``pos``, whose header is whole."""
    length = data[pos + 1] & 0x7F
    if length < 126:
        return length
    return int.from_bytes(data[pos + 2 : pos + (4 if length == 126 else 10)])


def answer(head: bytes, paths: tuple[str, ...]) -> Response:
    """The answer to a handshake, if ``paths`` are served; status 101 accepts the client."""
    protocol = ServerProtocol(subprotocols=SUBPROTOCOLS, logger=_quiet)  # [MQTT-6.0.0-4]
    protocol.receive_data(head)
    requests = protocol.events_received()
    if not requests:
        cause = protocol.handshake_exc.__cause__ if protocol.handshake_exc else None
        return _refusal(HTTPStatus.BAD_REQUEST, f"This is not a WebSocket handshake: {cause}.\n")
    request = requests[0]
    assert isinstance(request, Request)
    response = protocol.accept(request)
    if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:  # such as a key that is not ASCII
        text = f"This is not a WebSocket handshake: {protocol.handshake_exc}.\n"
        response = _refusal(HTTPStatus.BAD_REQUEST, printable(text, keep="\n"))
    elif isinstance(protocol.handshake_exc, InvalidUpgrade):
        where = "" if ANY_PATH in paths else f", at {paths[0]}"
        text = f"This is MQTT over WebSocket{where}: connect with an MQTT client, not a browser.\n"
        response = _refusal(HTTPStatus.UPGRADE_REQUIRED, text)
        response.headers["Upgrade"] = "websocket"
    elif ANY_PATH not in paths and (request.path.partition("?")[0].rstrip("/") or "/") not in paths:
        text = f"Nothing is served at this path; MQTT over WebSocket is at {paths[0]}.\n"
        response = _refusal(HTTPStatus.NOT_FOUND, text)
    return response


def _refusal(status: HTTPStatus, text: str) -> Response:
    return ServerProtocol(logger=_quiet).reject(status, text)


class WebSocketConnection(TcpConnection):
    """Between asyncio's transport and the channel, which sees MQTT bytes only."""

    __slots__ = ("_before_connect", "_websocket")

    def __init__(self, accept: Accept, path: str, max_packet_size: int) -> None:
        super().__init__(accept, TURN)
        self._websocket = WebSocket(path, max_packet_size)
        self._before_connect = 0
        """Bytes that came while it was not known who sends them."""

    def _handle(self, data: bytes) -> int:
        packets = self._websocket.receive(data)
        if self._channel is not None and self._channel.closed:
            self._websocket.to_write()  # we have said that this is the end: pings are answered no more
        else:
            self._flush()
        handled = self._websocket.frames_received
        handled += super()._handle(packets)  # also nothing: pongs may pile up that nobody reads
        if self._channel is not None and self._channel.client is None:
            self._before_connect += len(data)
            if self._before_connect > MAX_BEFORE_CONNECT:
                self.abort()
        if self._websocket.finished:
            if self._websocket.complaint and self._channel is not None and not self._channel.closed:
                client_log.no_websocket(self._channel.peer, self._channel.listener, self._websocket.complaint)
            super().close()
        return handled

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
