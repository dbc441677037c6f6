"""A connection whose client has not said who it is: it may belong to another process of this broker.

The session does not come to the client, the client goes to its session: its socket is passed on, with what
it has sent. Where that cannot be, as TLS or WebSocket is ended here, one end of a pair of sockets is passed
on in its place, and bytes are relayed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from ..engine import client_log
from ..engine.channel import Channel
from ..engine.connection_limits import MAX_UNANNOUNCED
from ..engine.engine import Engine
from ..packets.decoder import Decoder
from ..packets.encoder import encode
from ..packets.model import Connack, Connect
from ..packets.reasons import ReasonCode
from ..protocol.connection import MAX_CONNECT


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a connection, wherever it is served."""

    listener: str
    peer: str
    certificate: Any = None
    certified_username: str | None = None


class Owners(Protocol):
    """Who knows where clients belong."""

    def is_mine(self, client_id: str) -> bool: ...
    def pass_on(
        self,
        client_id: str,
        connection: socket.socket,
        origin: Origin,
        first: bytes,
        failed: Callable[[], None],
    ) -> None:
        """Have the connection served where the client belongs; ``first`` has come from it already. The socket
        is ours no longer. ``failed`` is called where nobody takes it in time, or ever."""


class Connection(Protocol):
    """What this needs of the transport's side, a `TcpConnection`."""

    def use(self, channel: Any) -> None: ...
    def take_waiting(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Arrival:
    """In the place of a channel until CONNECT has come."""

    lingers = closed = False
    client = None

    def __init__(
        self,
        engine: Engine,
        owners: Owners,
        connection: Connection,
        transport: asyncio.Transport,
        origin: Origin,
        *,
        may_move: bool,
        admit: Callable[[], Channel],
    ) -> None:
        """``may_move``: whether the bytes of the socket are the client's own. ``admit`` makes the channel."""
        self.engine = engine
        self._owners = owners
        self._connection = connection
        self._transport = transport
        self._origin = origin
        self.peer, self.listener = origin.peer, origin.listener
        self._may_move = may_move
        self._admit = admit
        self._first = b""
        self._decoder = Decoder(engine.mqtt.max_packet_size, max_first=MAX_CONNECT)
        self._over = False
        limits = engine.limits
        if len(engine.channels) + engine.arriving >= limits.max_connections + MAX_UNANNOUNCED:
            engine.counters.limited["max_connections"] += 1
            self._over = True
            connection.abort()
            return
        engine.arriving += 1
        self._timer = engine.clock.call_at(engine.clock.monotonic() + limits.connect_timeout, self._silent)

    def received(self, data: bytes) -> None:
        if self._over:
            return
        self._first += data
        packets = self._decoder.feed(data)
        if packets and isinstance(packets[0], Connect):
            connect = packets[0]
            if connect.client_id and not self._owners.is_mine(connect.client_id):
                self._end()
                self._pass_on(connect)
                return
        elif not packets and self._decoder.error is None:
            return  # its end has not come
        self._end()
        channel = self._admit()
        self._connection.use(channel)
        channel.received(self._first)

    def lost(self) -> None:
        self._end()

    def paused(self) -> None: ...
    def resumed(self) -> None: ...

    def _pass_on(self, connect: Connect) -> None:
        connection, owners = self._connection, self._owners
        connection.pause_reading()
        first = self._first + connection.take_waiting()
        refusal = encode(Connack(False, ReasonCode.SERVER_UNAVAILABLE), connect.version)
        if self._may_move:
            shared = self._transport.get_extra_info("socket")
            moved = socket.socket(fileno=os.dup(shared.fileno()))

            def refuse() -> None:
                self._count_refusal()
                with contextlib.suppress(OSError):
                    moved.send(refusal)
                moved.close()

            owners.pass_on(connect.client_id, moved, self._origin, first, refuse)
            connection.abort()  # of our copy alone
            return
        ours, theirs = socket.socketpair()

        def give_up() -> None:
            self._count_refusal()
            theirs.close()
            connection.write(refusal)
            connection.close()

        relay = Relay(self.engine, connection, self._origin)
        connection.use(relay)
        relay.begin(ours)
        owners.pass_on(connect.client_id, theirs, self._origin, first, give_up)

    def _count_refusal(self) -> None:
        self.engine.counters.refused["server_unavailable"] += 1

    def _silent(self) -> None:
        if not self._over:
            self.engine.counters.limited["connect_timeout"] += 1
            client_log.silent(self._origin.peer, self._origin.listener, self.engine.limits.connect_timeout)
            self._end()
            self._connection.abort()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._timer.cancel()
            self.engine.arriving -= 1


class Relay(asyncio.Protocol):
    """Between a client and the process that serves it; in the place of a channel, too."""

    closed = False

    def __init__(self, engine: Engine, connection: Connection, origin: Origin) -> None:
        self.engine = engine
        self.client = origin
        self.peer, self.listener = origin.peer, origin.listener
        self.lingers = False
        """Whether the client is given time to read why it is sent away."""
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._over = False

    def begin(self, ours: socket.socket) -> None:
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        self.engine.spawn(loop.connect_accepted_socket(lambda: self, ours), lambda _: None)

    # From the client.

    def received(self, data: bytes) -> None:
        if self._transport is None:
            self._early.append(data)
        else:
            self._transport.write(data)

    def lost(self) -> None:
        self._over = True
        if self._transport is not None:
            self._transport.close()

    def paused(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resumed(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # To the client.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._over:
            self._transport.close()
            return
        self._transport.writelines(self._early)
        self._early.clear()
        self._connection.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._connection.write(data)

    def eof_received(self) -> bool:
        self.lingers = True
        self._connection.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._over:
            self._connection.close()

    def pause_writing(self) -> None:
        self._connection.pause_reading()

    def resume_writing(self) -> None:
        self._connection.resume_reading()
