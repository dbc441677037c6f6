"""The connection of a client: MQTT bytes over TCP, TLS or WebSocket."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..packets.primitives import LARGEST_PACKET

if TYPE_CHECKING:
    from .websocket import WebSocket

READ = 1 << 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a broker is, and how to connect to it."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    """None: without TLS."""
    websocket_path: str | None = None
    """The path of a WebSocket; None: without WebSocket."""


class Stream:
    """An open connection. Create it with :meth:`open`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, websocket: WebSocket | None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._websocket = websocket
        self._flush()

    @classmethod
    async def open(cls, place: Place) -> Stream:
        """Raises OSError if the broker cannot be reached, ssl.SSLError among them."""
        websocket = None
        if place.websocket_path is not None:
            from .websocket import WebSocket

            websocket = WebSocket(
                place.host, place.port, place.websocket_path, LARGEST_PACKET, secure=place.tls is not None
            )
        reader, writer = await asyncio.open_connection(place.host, place.port, ssl=place.tls)
        return cls(reader, writer, websocket)

    @property
    def refusal(self) -> str:
        """Why there is no WebSocket; empty if there is one, or need not be."""
        return "" if self._websocket is None else self._websocket.refusal

    async def read(self) -> bytes:
        """Some bytes; empty at the end of the connection."""
        while data := await self._reader.read(READ):
            websocket = self._websocket
            if websocket is None:
                return data
            packets = websocket.received(data)
            self._flush()
            if packets:
                return packets
            if websocket.is_over:
                break
        return b""

    async def write(self, data: bytes) -> None:
        """Raises OSError if the connection is lost."""
        if self._websocket is None:
            self._writer.write(data)
        else:
            self._websocket.send(data)
            self._flush()
        await self._writer.drain()

    def abort(self) -> None:
        """Close at once."""
        self._writer.close()

    async def close(self) -> None:
        """Send the written bytes, then close."""
        if self._websocket is not None:
            self._websocket.close()
            self._flush()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def _flush(self) -> None:
        if self._websocket is not None and (data := self._websocket.to_write()):
            self._writer.write(data)
