"""The client's side of MQTT over WebSocket, without a connection: bytes go in, bytes come out."""

from __future__ import annotations

import logging

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

MAX_FRAME = 256 * 1024
"""More than this is sent in several messages."""
MIN_MESSAGE = 1 << 20
"""A message may hold several packets. It may have this many bytes, however small packets have to be."""
DEFAULT_PATH = "/mqtt"

_quiet = logging.getLogger(__name__ + ".library")
_quiet.setLevel(logging.CRITICAL)


class WebSocket:
    """The handshake and the frames of one connection. Write :meth:`to_write` to it after each other call."""

    def __init__(self, host: str, port: int, path: str, max_packet: int, *, secure: bool) -> None:
        """``max_packet`` is the largest packet that is accepted, in bytes. Raises OSError if the address
        cannot be used."""
        scheme = "wss" if secure else "ws"
        written = f"[{host}]" if ":" in host else host
        try:
            uri = parse_uri(f"{scheme}://{written}:{port}{path or DEFAULT_PATH}")
        except InvalidURI as error:
            raise OSError(str(error)) from error
        self._protocol = ClientProtocol(
            uri, subprotocols=[Subprotocol("mqtt")], max_size=max(max_packet, MIN_MESSAGE), logger=_quiet
        )  # [MQTT-6.0.0-3]
        self._unsent = b""
        """What was sent before the end of the handshake."""
        self._is_open = False
        self._protocol.send_request(self._protocol.connect())

    @property
    def is_over(self) -> bool:
        """Whether the handshake has failed, or the other side closes the connection."""
        return self._protocol.handshake_exc is not None or self._protocol.close_expected()

    @property
    def refusal(self) -> str:
        """Why the handshake has failed; empty if it has not."""
        error = self._protocol.handshake_exc
        return "" if error is None else str(error)

    def received(self, data: bytes) -> bytes:
        """Take bytes from the connection; returns the bytes of MQTT in them."""
        self._protocol.receive_data(data)
        chunks: list[bytes] = []
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._is_open = self._protocol.state is OPEN
                if self._is_open and self._unsent:
                    unsent, self._unsent = self._unsent, b""
                    self.send(unsent)
            elif isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                chunks.append(bytes(event.data))
        return b"".join(chunks)

    def send(self, data: bytes) -> None:
        """Send bytes of MQTT, if need be after the handshake."""
        if not self._is_open:
            self._unsent += data
        elif self._protocol.state is OPEN:
            for start in range(0, len(data), MAX_FRAME):
                self._protocol.send_binary(data[start : start + MAX_FRAME])

    def close(self) -> None:
        """Say that this side closes the connection."""
        if self._protocol.state is OPEN:
            self._protocol.send_close(1000)

    def to_write(self) -> bytes:
        """The bytes to write to the connection now."""
        return b"".join(self._protocol.data_to_send())
