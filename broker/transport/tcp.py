"""MQTT over TCP: one protocol object for each connection, without streams and tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

HIGH_WATER = 256 * 1024
"""Unsent bytes above which a client counts as reading too slowly."""
LOW_WATER = 64 * 1024
TURN = 32 * 1024
"""How many bytes of one client are handled before others get their turn: some hundred small packets."""
LONG_TURN = 256 * 1024
"""The same for a client whose packets are large: it is their number that takes time, and cutting them up
costs copies."""
FEW = 32
"""A turn with fewer packets than this may be long."""
SHORTER = 4
"""A turn is shorter by this factor while somebody else sends a little now and then."""
SHORT_TURNS = 64
"""How many turns in a row are shorter after somebody else has sent a little."""
LINGER = 5.0
"""Seconds a client may take to close its side after we have closed ours."""

Accept = Callable[["TcpConnection", asyncio.Transport], Any]
"""Makes the channel of a new connection, or what is in its place until its client has said who it is."""


class TcpConnection:
    """Between asyncio's transport and the channel. It has the methods of an `asyncio.Protocol` and does not
    inherit from it, so that it can be compiled."""

    __slots__ = (
        "_accept",
        "_channel",
        "_handled",
        "_held",
        "_lingering",
        "_normal_turn",
        "_seen",
        "_short_turns",
        "_transport",
        "_turn",
        "_waiting",
    )

    def __init__(self, accept: Accept, turn: int = TURN) -> None:
        """``turn``: see TURN."""
        self._accept = accept
        self._normal_turn = turn
        self._channel: Any = None
        self._lingering: asyncio.TimerHandle | None = None
        """Set once nothing more is written: when the client's end is no longer waited for."""
        self._held = False
        """Whether the channel wants no more to be read."""
        self._turn = turn
        """How many bytes are handled in the next turn."""
        self._short_turns = 0
        """How many of the next turns are shorter."""
        self._seen = 0
        """How many packets of all clients had been handled after the last turn."""
        self._waiting = b""
        """What was read and is to be handled in the next turns; until then nothing more is read."""
        self._handled = 0
        """How much of it was handled already."""
        self._transport: asyncio.Transport | None = None

    def use(self, channel: Any) -> None:
        """Hand to ``channel`` what comes from now on, and have it as the one that writes."""
        if self._channel is not None:
            self._channel = channel

    def take_waiting(self) -> bytes:
        """What was read and is not handled yet; nobody else handles it."""
        rest, self._waiting, self._handled = self._waiting[self._handled :], b"", 0
        return rest

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        self._channel = self._accept(self, self._transport)

    def data_received(self, data: bytes) -> None:
        if len(data) <= self._normal_turn and not self._waiting:
            self._handle(data)
        else:
            self._in_turns(data)

    def _handle(self, data: bytes) -> int:
        """Handle what is one turn's; how many packets, or other pieces of work, that were."""
        assert self._channel is not None
        counters = self._channel.engine.counters
        before = counters.packets_received
        self._channel.received(data)
        return int(counters.packets_received - before)

    def _in_turns(self, data: bytes) -> None:
        """uvloop reads 256 KB at a time, and up to 32 times in a row from a socket that has more: handled at
        once, that would keep everybody else waiting."""
        if not self._waiting and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._take_turn)
        self._waiting += data

    def _take_turn(self) -> None:
        if self._held or self._channel is None or not self._waiting:
            return
        counters = self._channel.engine.counters
        if 0 < counters.packets_received - self._seen < FEW:
            self._short_turns = SHORT_TURNS
        length, few = self._turn, FEW
        if self._short_turns and length == self._normal_turn:
            self._short_turns -= 1
            length //= SHORTER
            few //= SHORTER
        start = self._handled
        self._handled = start + length
        turn = self._waiting[start : self._handled]
        if self._handled >= len(self._waiting):
            self._waiting, self._handled = b"", 0
        self._turn = LONG_TURN if self._handle(turn) < few else self._normal_turn
        self._seen = counters.packets_received
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._take_turn)
        elif not self._held:
            self.resume_reading()

    def eof_received(self) -> None:
        """The client's end is closed: the transport closes ours."""

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
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._take_turn)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0


class PassedOn(TcpConnection):
    """A connection that another process has accepted, and of which ``first`` has come there."""

    __slots__ = ("_first",)

    def __init__(self, accept: Accept, first: bytes) -> None:
        super().__init__(accept)
        self._first = first

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        first, self._first = self._first, b""
        self.data_received(first)


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The other end as ``host:port``; IPv6 in brackets; empty where there is none (a unix socket)."""
    name: Any = transport.get_extra_info("peername")
    if not isinstance(name, tuple) or len(name) < 2:
        return ""
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
