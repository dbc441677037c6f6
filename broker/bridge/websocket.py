"""The transport of a bridge over WebSocket."""

from __future__ import annotations

from ..client.websocket import WebSocket
from ..transport.tcp import Accept, TcpConnection
from .settings import Address


class WebSocketUplink(TcpConnection):
    """Between asyncio's transport and the uplink, which sees MQTT bytes only. What is written before the
    handshake is over waits for it."""

    __slots__ = ("_websocket",)

    def __init__(self, accept: Accept, address: Address, max_packet: int) -> None:
        """``max_packet`` is the largest packet that is taken, in bytes."""
        super().__init__(accept)
        secure = address.scheme == "wss"
        self._websocket = WebSocket(address.host, address.port, address.path, max_packet, secure=secure)

    def _handle(self, data: bytes) -> int:
        packets = self._websocket.received(data)
        self._write()
        handled = super()._handle(packets) if packets else 0
        if self._websocket.is_over:
            super().close()
        return handled

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._write()

    def write(self, data: bytes) -> None:
        self._websocket.send(data)
        self._write()

    def close(self) -> None:
        self._websocket.close()
        self._write()
        super().close()

    def _write(self) -> None:
        data = self._websocket.to_write()
        if data:
            super().write(data)
