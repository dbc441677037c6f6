"""The client's side of MQTT over WebSocket."""

from __future__ import annotations

import logging

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ..transport.tcp import Accept, TcpConnection
from .settings import Address

MAX_FRAME = 256 * 1024
"""More than this is sent in several messages."""
MIN_MESSAGE = 1 << 20
"""A message may hold several packets: this much of them is taken however small packets have to be."""
DEFAULT_PATH = "/mqtt"

_quiet = logging.getLogger(__name__ + ".library")
_quiet.setLevel(logging.CRITICAL)


class WebSocketUplink(TcpConnection):
    """Between asyncio's transport and the uplink, which sees MQTT bytes only. What is written before the
    handshake is over waits for it."""

    __slots__ = ("_begun", "_frames", "_unsent")

    def __init__(self, accept: Accept, address: Address, max_packet: int) -> None:
        """``max_packet`` is the largest packet that is taken, in bytes."""
        super().__init__(accept)
        host = f"[{address.host}]" if ":" in address.host else address.host
        try:
            uri = parse_uri(f"{address.scheme}://{host}:{address.port}{address.path or DEFAULT_PATH}")
        except InvalidURI as error:
            raise OSError(str(error)) from error
        self._frames = ClientProtocol(
            uri, subprotocols=[Subprotocol("mqtt")], max_size=max(max_packet, MIN_MESSAGE), logger=_quiet
        )  # [MQTT-6.0.0-3]
        self._unsent = b""
        self._begun = False

    def _handle(self, data: bytes) -> int:
        self._frames.receive_data(data)
        chunks: list[bytes] = []
        for event in self._frames.events_received():
            if isinstance(event, Response):
                self._begun = self._frames.state is OPEN
                if self._begun and self._unsent:
                    unsent, self._unsent = self._unsent, b""
                    self.write(unsent)
            elif isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                chunks.append(bytes(event.data))
        self._flush()
        handled = super()._handle(b"".join(chunks)) if chunks else 0
        if self._frames.handshake_exc is not None or self._frames.close_expected():
            super().close()
        return handled

    def connection_made(self, transport: object) -> None:
        self._frames.send_request(self._frames.connect())
        super().connection_made(transport)  # type: ignore[arg-type]
        self._flush()

    def write(self, data: bytes) -> None:
        if not self._begun:
            self._unsent += data
            return
        if self._frames.state is OPEN:
            for start in range(0, len(data), MAX_FRAME):
                self._frames.send_binary(data[start : start + MAX_FRAME])
            self._flush()

    def close(self) -> None:
        if self._frames.state is OPEN:
            self._frames.send_close(1000)
            self._flush()
        super().close()

    def _flush(self) -> None:
        data = b"".join(self._frames.data_to_send())
        if data:
            super().write(data)
