"""One client's connection, between the transport's bytes and the engine's handlers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..delivery.outbox import Outbox
from ..events import Client
from ..packets.errors import ProtocolError
from ..packets.model import Packet, Publish, PublishRun, Run, singly
from ..packets.reasons import ReasonCode, reason_name
from ..protocol.connection import Connection
from ..session.session import Session
from . import client_log
from .auth_method import Conversation
from .connection_limits import MAX_UNANNOUNCED
from .rates import meter
from .turns import Work

if TYPE_CHECKING:
    from .engine import Engine

T = TypeVar("T")

log = logging.getLogger("pybroker")

LINGER = 5.0
"""Seconds that a client has to read its DISCONNECT before the connection is closed."""
MAX_UNREAD_ANSWERS = 1 << 20
"""Bytes of acknowledgements that may wait for a client that reads nothing."""

LONGEST_PAUSE = 60.0
"""Seconds by which a client may be ahead of `limits.message_rate`."""


_NO_PACKETS: Iterator[Packet | Run] = iter(())
"""Shared: it is at its end from the start."""


class Link(Protocol):
    """What a channel needs of its transport."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> None:
        """Send the written bytes, then close."""

    def abort(self) -> None:
        """Close at once; written bytes may be lost."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def unsent_bytes(self) -> int:
        """The number of written bytes that the network has not taken yet."""


class Handlers(Protocol):
    """The handlers of packets, as an interface, so that channel and handlers need not import each other."""

    @property
    def by_packet(self) -> Mapping[type, Callable[[Engine, Channel, Any], None]]: ...
    def publish(self, engine: Engine, channel: Channel, packet: Publish) -> None: ...
    def publish_run(self, engine: Engine, channel: Channel, run: PublishRun) -> bool: ...
    def leave(self, engine: Engine, channel: Channel, reason: str) -> None: ...


class Channel:
    """Created by a transport for each connection; fed by :meth:`received` and :meth:`lost`."""

    __slots__ = (
        "_backlog",
        "_silence",
        "_suspended",
        "_unsent_limit",
        "authentication",
        "certificate",
        "certified_username",
        "checks_topics",
        "client",
        "closed",
        "connection",
        "engine",
        "handlers",
        "heard_at",
        "inside",
        "lingers",
        "link",
        "listener",
        "listener_limits",
        "meter",
        "opened_at",
        "outbox",
        "over_rate",
        "peer",
        "session",
        "superuser",
        "taps",
        "tick",
        "tls",
        "will_generation",
    )

    def __init__(
        self,
        engine: Engine,
        handlers: Handlers,
        link: Link,
        *,
        listener: str = "",
        peer: str = "",
        certificate: Mapping[str, Any] | None = None,
        certified_username: str | None = None,
        tls: Any = None,
        inside: bool = False,
    ) -> None:
        mqtt = engine.mqtt
        self.engine = engine
        self.handlers = handlers
        self.link = link
        self.listener = listener
        self.inside = inside
        """Whether a part of this broker is the client: it may do everything, and no limit counts it."""
        self.peer = peer
        """The client's address, ``host:port``."""
        self.certificate = certificate
        """The client's certificate, as returned by ``ssl.SSLSocket.getpeercert``."""
        self.tls = tls
        """The connection's ``ssl.SSLObject``, where it has one."""
        self.certified_username = certified_username
        """The user name from the certificate, if the listener takes it from there; empty if the certificate
        has none."""
        self.connection = Connection(
            mqtt.max_packet_size, mqtt.receive_maximum, mqtt.max_topic_alias, engine.topics
        )
        self.outbox = Outbox(link.write)
        self.client: Client | None = None
        """Set by CONNECT."""
        self.watch()
        self.session: Session | None = None
        """Set when the client is admitted."""
        self.authentication: Conversation | None = None
        """The authentication exchange, if CONNECT named an authentication method."""
        self.superuser = inside
        """Whether the client may do everything."""
        self.will_generation = -1
        """Of access control when it was asked about the will."""
        self.checks_topics = False
        """Whether access control is asked about the topics that this client publishes to."""
        self.closed = False
        self.lingers = False
        """After the close: whether the client, which may still be sending, has time to read the reason."""
        self._suspended = False
        self._backlog: Iterator[Packet | Run] = _NO_PACKETS
        """Packets that were read and are not handled yet."""
        self._unsent_limit: int | None = None
        """The number of unsent bytes that is too many, while the client reads too slowly."""
        now = engine.clock.monotonic()
        self.opened_at = now
        self.heard_at = now
        """The time of the last packet."""
        self.meter = None if inside else meter(engine.limits, now)
        """The rate limits of the client, if there are any."""
        self.listener_limits = engine.connection_limits[listener]
        arrivals = self.listener_limits.arrivals
        self.over_rate = arrivals is not None and not arrivals.has_one(now)
        """Whether the connection exceeds the rate of new connections."""
        if self.over_rate:
            engine.counters.limited["connect_rate"] += 1
        self._silence = 0.0
        """Seconds without a packet after which the connection is closed; 0: never."""
        self.tick = 0
        """Kept by :class:`Deadlines`: when the connection is looked at next; 0: not at all."""
        if len(engine.channels) >= engine.limits.max_connections + MAX_UNANNOUNCED and not inside:
            engine.counters.limited["max_connections"] += 1
            self.closed = True
            link.abort()
            return
        engine.deadlines.check_by(self, now + engine.limits.connect_timeout)
        engine.channels.add(self)

    def received(self, data: bytes) -> None:
        """Handle bytes from the client."""
        if self.closed:
            return
        engine = self.engine
        packets = self.connection.receive(data)
        if packets:
            self.heard_at = engine.clock.monotonic()
        counters = engine.counters
        counters.bytes_received += len(data)
        counters.packets_received += len(packets)
        if self.taps:
            self._show(packets)
        if self._suspended:
            self._backlog = chain(self._backlog, packets)
        else:
            self._handle(iter(packets))
        engine.flush()
        if self.meter is not None and not self.closed:
            self._throttle(packets, len(data))
        if self._unsent_limit is not None:
            self._check_unsent(self._unsent_limit)

    def take(self, packets: list[Packet | Run], size: int) -> None:
        """The same for packets that a part of this broker has read already, from ``size`` bytes."""
        if self.closed:
            return
        engine = self.engine
        packets = self.connection.checked(packets)
        engine.counters.bytes_received += size
        engine.counters.packets_received += len(packets)
        if self.taps:
            self._show(packets)
        if self._suspended:
            self._backlog = chain(self._backlog, packets)
        else:
            self._handle(iter(packets))
        engine.flush()
        if self._unsent_limit is not None:
            self._check_unsent(self._unsent_limit)

    def _show(self, packets: list[Packet | Run]) -> None:
        single = [*singly(packets)]
        for tap in self.taps:
            tap.received(self, single)

    def _check_unsent(self, limit: int) -> None:
        if self.link.unsent_bytes() > limit:
            self.close(ReasonCode.QUOTA_EXCEEDED, "slow_receiver", "the client does not read its answers")

    def lost(self) -> None:
        """The network connection is gone."""
        self.engine.parting.discard(self)
        if not self.closed:
            self.handlers.leave(self.engine, self, "tcp_closed")
            self.engine.flush()

    def paused(self) -> None:
        """The client reads too slowly: until :meth:`resumed`, its messages wait in its session."""
        self._unsent_limit = self.link.unsent_bytes() + MAX_UNREAD_ANSWERS
        if self.session is not None and self.session.channel is self:
            self.session.outbox = None

    def resumed(self) -> None:
        """The client has read enough to receive more."""
        self._unsent_limit = None
        session = self.session
        if session is not None and session.channel is self and not self.closed:
            session.outbox = self.outbox
            self.engine.sender.pump(session)
            self.engine.flush()

    def write_on(self) -> None:
        """Write more of what waits, unless the client reads too slowly again."""
        if self._unsent_limit is None:
            self.resumed()

    def send(self, packet: bytes) -> None:
        """Queue ``packet`` for the next flush."""
        if packet:
            self.engine.pending.send(self.outbox, packet)

    def hold(self, then: Callable[[T], None]) -> Callable[[T], None]:
        """Suspend the client until the returned function is called; ``then`` runs with what it is given."""
        self._suspended = True
        self.link.pause_reading()
        return partial(self._resume, then)

    def suspend(self, answer: Awaitable[T], then: Callable[[T], None]) -> None:
        """Suspend the client until ``answer`` is there and ``then`` has run with it."""
        self.engine.spawn(self._answered(answer), self.hold(then))

    def in_turns(self, work: Work) -> None:
        """Do long work for a packet in turns, so that other clients need not wait. Nothing more from this
        client is handled until it is done."""
        self._go_on(work, None)

    def _go_on(self, work: Work, answer: Any) -> None:
        turns = self.engine.turns
        end = turns.end()
        try:
            while True:
                awaited = work.send(answer)
                if awaited is not None:
                    self.suspend(awaited, partial(self._go_on, work))
                    return
                answer = None
                if turns.now() > end:
                    self._rest(partial(self._go_on, work))
                    return
        except StopIteration:
            return

    def until_called(self, then: Callable[[], None]) -> Callable[[], None]:
        """Suspend the client until the function that is returned is called; it continues with ``then``."""
        self._suspended = True
        self.link.pause_reading()
        return lambda: self._resume(lambda _: then(), None)

    def _rest(self, then: Callable[[None], None]) -> None:
        """Suspend the client until its next turn, then continue with ``then``."""
        self.engine.turns.later(partial(self.hold(then), None))

    async def _answered(self, answer: Awaitable[T]) -> T | None:
        """Await ``answer``; if it fails, the client is disconnected instead of waiting for ever."""
        try:
            return await answer
        except Exception:
            who = self.client.client_id if self.client else self.peer
            log.exception("an answer that client %s waited for has failed", who)
            self.refuse(ProtocolError("the broker has failed", ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR))
            return None

    def wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Suspend the client for ``seconds``, then continue with ``then``."""
        due = self.engine.clock.monotonic() + seconds
        self.engine.clock.call_at(due, partial(self.hold(lambda _: then()), None))

    def read_on(self) -> None:
        """Read from the client again, unless it has to wait for another reason."""
        if not self._suspended and not self.closed:
            self.link.resume_reading()

    def close(self, reason: ReasonCode, name: str = "", text: str = "") -> None:
        """Disconnect the client. ``name`` is the reason in events; by default the name of the reason code."""
        self.lingers = reason != ReasonCode.SERVER_SHUTTING_DOWN and self.connection.established
        self._end(self.connection.disconnect(reason, text), name or reason_name(reason))

    def refuse(self, error: ProtocolError) -> None:
        """The client broke the protocol: send the reason [MQTT-4.13.1-1], and close [MQTT-4.8.0-1]."""
        if not self.closed and error.reason != ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR:
            client_log.broke_rule(self, error)
        if error.limit:
            self.engine.counters.limited[error.limit] += 1
        self.lingers = self.connection.established
        self._end(self.connection.refusal(error), reason_name(error.reason))

    def refuse_connect(self, reason: ReasonCode, text: str) -> None:
        """Answer CONNECT with a CONNACK that refuses the client."""
        self._end(self.connection.refusal(ProtocolError(text, reason)), reason_name(reason))

    def watch_keepalive(self, seconds: float) -> None:
        """Close the connection once nothing has come for ``seconds`` [MQTT-3.1.2-22]; 0 never."""
        self._silence = seconds
        if seconds:
            # Often it is looked at earlier, for CONNECT. That does no harm, and costs less than to move it.
            self.engine.deadlines.check_by(self, self.heard_at + seconds)
        else:
            self.engine.deadlines.forget(self)

    def watch(self) -> None:
        """Show packets to the engine's taps that want those of this connection. Call it again when that may
        have changed."""
        self.taps = tuple(tap for tap in self.engine.taps if tap.sees(self))
        self.outbox.write = self._write_watched if self.taps else self.link.write

    def _write_watched(self, data: bytes) -> None:
        self.link.write(data)
        for tap in self.taps:
            tap.sent(self, data)

    def check_deadline(self) -> None:
        """Called when something may be overdue, and not again unless this asks for it. Deadlines are not
        moved for each packet: this looks at the time of the last packet, and waits for the rest."""
        if self.session is None:
            self._check_connect()
        else:
            self._check_keepalive(self._silence)

    def _check_keepalive(self, seconds: float) -> None:
        now = self.engine.clock.monotonic()
        if self._suspended:  # nothing can be heard
            self.heard_at = now
        if self.heard_at + seconds > now:
            self.engine.deadlines.check_by(self, self.heard_at + seconds)
        else:
            self.close(ReasonCode.KEEP_ALIVE_TIMEOUT, text=f"the client was silent for {seconds:g} seconds")

    def _end(self, last_words: bytes, reason: str) -> None:
        if self.closed:
            return
        self.send(last_words)
        self.handlers.leave(self.engine, self, reason)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the network connection, after :meth:`Handlers.leave`. It waits only a short time for a client
        that does not read."""
        self.engine.flush()
        if self.lingers:
            self.engine.parting.add(self)
        self.engine.pending.when_written(self.outbox, self._close_link)

    def _close_link(self) -> None:
        self.link.close()
        if self.link.unsent_bytes():
            self.engine.clock.call_at(self.engine.clock.monotonic() + LINGER, self.link.abort)

    def _handle(self, packets: Iterator[Packet | Run]) -> None:
        engine = self.engine
        publish = self.handlers.publish
        publish_run = self.handlers.publish_run
        handlers = self.handlers.by_packet
        now = engine.turns.now
        end = engine.turns.end()
        try:
            for packet in packets:
                if packet.__class__ is Publish:
                    publish(engine, self, packet)
                elif packet.__class__ is PublishRun:
                    if not publish_run(engine, self, packet):
                        self._handle(self._each_publish(chain((packet,), packets)))
                        return
                else:
                    handlers[packet.__class__](engine, self, packet)
                if self._suspended or self.closed:
                    self._backlog = packets
                    return
                if now() > end:
                    self._backlog = packets
                    self._rest(_nothing)
                    return
        except ProtocolError as error:
            self.refuse(error)
            return
        if self.connection.error is not None:
            self.refuse(self.connection.error)

    def _each_publish(self, packets: Iterable[Packet | Run]) -> Iterator[Packet | Run]:
        """The packets, with the messages of runs one by one and counted."""
        for packet in packets:
            if isinstance(packet, PublishRun):
                self.engine.counters.packets_received += len(packet) - 1
                yield from packet
            else:
                yield packet

    def _resume(self, then: Callable[[T], None], result: T) -> None:
        self._suspended = False
        if self.closed:
            return
        self.heard_at = self.engine.clock.monotonic()
        try:
            then(result)
        except ProtocolError as error:
            self.refuse(error)
        if not self._suspended and not self.closed:
            self._handle(self._backlog)
        if not self._suspended and not self.closed:
            self.link.resume_reading()
        self.engine.flush()

    def _throttle(self, packets: list[Packet | Run], size: int) -> None:
        """Read nothing more until the client is back within its limits. This slows it down, and nothing is
        lost. A client that is far ahead is disconnected."""
        assert self.meter is not None
        engine = self.engine
        messages = sum(packet.__class__ is Publish for packet in singly(packets))
        pause, limit = self.meter.pause(messages, size, engine.clock.monotonic())
        if not pause:
            return
        engine.counters.limited[limit] += 1
        if limit == "message_rate" and pause > LONGEST_PAUSE:
            text = f"more than {engine.limits.message_rate:g} messages per second"
            self.close(ReasonCode.MESSAGE_RATE_TOO_HIGH, text=text)
        elif not self._suspended:
            self.wait(pause, lambda: None)

    def _check_connect(self) -> None:
        seconds = self.engine.limits.connect_timeout
        now = self.engine.clock.monotonic()
        if self._suspended:  # CONNECT has come, and access control takes its time
            self.engine.deadlines.check_by(self, now + seconds)
            return
        self.engine.counters.limited["connect_timeout"] += 1
        client_log.silent(self.peer, self.listener, seconds)
        self.close(ReasonCode.MAXIMUM_CONNECT_TIME, "connect_timeout")


def _nothing(_: None) -> None: ...
