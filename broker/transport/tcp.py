"""MQTT over TCP: one protocol object a connection, no streams and no tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from ..engine.channel import Channel, Link

HIGH_WATER = 256 * 1024
"""Unsent bytes above which a client counts as reading too slowly."""
LOW_WATER = 64 * 1024
FULL_READ = 128 * 1024
"""A read of this many bytes probably left more; others get their turn before it is fetched."""
LINGER = 5.0
"""Seconds a client may take to close its side after we have closed ours."""

Accept = Callable[[Link, asyncio.Transport], Channel]
"""Makes the channel of a new connection."""


class TcpConnection(asyncio.Protocol):
    """Between asyncio's transport and the channel."""

    __slots__ = ("_accept", "_channel", "_held", "_lingering", "_transport")

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        self._channel: Channel | None = None
        self._lingering: asyncio.TimerHandle | None = None
        """Set once nothing more is written: when the client's end is no longer waited for."""
        self._held = False
        """Whether the channel wants no more to be read."""
        self._transport: asyncio.Transport | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        self._channel = self._accept(self, self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._channel is not None
        self._channel.received(data)
        if len(data) >= FULL_READ and not self._held:
            self._yield_turn()

    def _yield_turn(self) -> None:
        """uvloop reads up to 32 times in a row from a socket that has more, while everybody else waits."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        if not self._held and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._lingering is not None:
            self._lingering.cancel()
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.lost()

    def pause_writing(self) -> None:
        if self._channel is not None:
            self._channel.paused()

    def resume_writing(self) -> None:
        if self._channel is not None:
            self._channel.resumed()

    # What the channel calls.

    def write(self, data: bytes) -> None:
        if self._transport is not None and self._lingering is None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        # Not twice: asyncio's TLS transport is of no use after that.
        if self._transport is None or self._transport.is_closing() or self._lingering is not None:
            return
        if self._channel is not None and self._channel.lingers and self._transport.can_write_eof():
            # Closed outright, a connection whose client still sends is reset, and the client may never read
            # why. So only our side is closed, and what comes is ignored until the client closes as well.
            self._lingering = asyncio.get_running_loop().call_later(LINGER, self.abort)
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        self._held = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._held = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The other end as ``host:port``; IPv6 in brackets; empty where there is none (a unix socket)."""
    name: Any = transport.get_extra_info("peername")
    if not isinstance(name, tuple) or len(name) < 2:
        return ""
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
