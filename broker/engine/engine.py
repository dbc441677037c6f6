"""The broker's state, which all handlers of packets share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ..clock import Clock
from ..config.settings import Limits, MqttSettings
from ..counters import Counters
from ..delivery.fanout import Fanout
from ..delivery.outbox import Outbox, Pending
from ..delivery.sender import Sender
from ..events import Client
from ..hooks import Hooks
from ..packets.model import Connect, Packet, Publish
from ..packets.reasons import ReasonCode
from ..packets.topic_cache import TopicCache
from ..reports import Reports
from ..routing.retained import RetainedMessages
from ..routing.router import Router
from ..session.keeper import Storage
from ..session.registry import Registry
from ..session.session import Session
from .access import AccessControl
from .auth_method import Method
from .bans import Bans
from .claims import Claims
from .connection_limits import ConnectionLimits
from .deadlines import Deadlines
from .failures import LoginFailures
from .rates import meter
from .spreading import Spreading
from .turns import Turns

EXPIRY_SWEEP = 60.0
"""Seconds between two searches for expired retained messages."""


class Spawn(Protocol):
    """Wait for an answer without holding up the event loop, then hand it on."""

    def __call__(self, answer: Awaitable[Any], then: Callable[[Any], None]) -> None: ...


class Neighbours(Protocol):
    """The other processes of which this engine is one; None where there are none."""

    full: bool
    """Whether so much waits for one of them that publishers have to wait."""

    @property
    def refuses(self) -> bool:
        """Whether no client may connect now, because the others cannot be reached."""

    def concerned(self, topic: str) -> Awaitable[Any] | None:
        """What a publisher of the topic has to wait for."""

    def holds(self, outbox: Outbox, answers: bytes) -> bool:
        """Whether these acknowledgements wait until the others have made safe what they are about; they are
        sent then. Else the caller sends them."""

    def routes_known(self) -> Awaitable[Any] | None:
        """What a client has to wait for until messages of the others reach its new subscriptions."""

    def is_mine(self, client_id: str) -> bool:
        """Whether the session of this client belongs here."""

    def moved(self, session: Session) -> None:
        """Its client has come or gone."""

    def numbers(self) -> Iterable[Mapping[str, Any]]:
        """What `live.numbers.own_numbers` has said on each of the others, a second ago at most."""


class Backlog(Protocol):
    """The queues of the broker's bridges."""

    @property
    def full(self) -> bool:
        """Whether one of them is nearly full: then it is asked about each message above QoS 0."""

    def room_for(self, publish: Publish, publisher: Session) -> Awaitable[Any] | None:
        """What the publisher has to wait for; None: nothing."""


class Loops(Protocol):
    """Recognises what bridges bring a second time."""

    def connected(self, channel: Any, connect: Connect) -> None:
        """A client has connected, which may be a bridge of another broker."""

    def is_copy(self, publish: Publish, publisher: Session | None) -> bool:
        """Asked once about each message to a topic with observers, before anybody gets it."""


Command = Callable[[Client, bytes], Awaitable[ReasonCode]]
"""Carries out what a client says in a payload. It must not raise; its reason code is that of the answer."""


class Tap(Protocol):
    """Sees the packets of connections, in both directions."""

    def sees(self, channel: Any) -> bool:
        """Whether it wants those of this connection; asked when that is made, and by ``Channel.watch``."""

    def received(self, channel: Any, packets: Sequence[Packet]) -> None:
        """These packets were received, and are handled next."""

    def sent(self, channel: Any, data: bytes) -> None:
        """One or more whole packets are on their way out."""


class Engine:
    """The state of the broker. The handlers are functions that take it first."""

    def __init__(
        self,
        clock: Clock,
        spawn: Spawn,
        mqtt: MqttSettings | None = None,
        limits: Limits | None = None,
        *,
        hooks: Hooks | None = None,
        access: AccessControl | None = None,
        pending: Pending | None = None,
    ) -> None:
        self.clock = clock
        self.started = clock.monotonic()
        self.spawn = spawn
        self.turns = Turns(spawn)
        self.deadlines = Deadlines(clock, self.turns)
        self.storage: Storage | None = None
        """The storage of sessions outside memory; None if there is none."""
        self.neighbours: Neighbours | None = None
        """The other workers of this broker."""
        self.backlog: Backlog | None = None
        """The queues of bridges; None: there are no bridges."""
        self.claims: Claims | None = None
        """Asked at CONNECT, where a client may connect to any of several hosts."""
        self.mqtt = mqtt or MqttSettings()
        self.limits = limits or Limits()
        self.hooks = hooks or Hooks()
        self.access = access or AccessControl()
        self.loops: Loops | None = None
        """None: nobody looks for messages that come a second time."""
        self.auth_methods: dict[str, Method] = {}
        """The methods of enhanced authentication, by the name that CONNECT gives."""
        self.commands: dict[str, Command] = {}
        """Topics below `$` that tell the broker something: nobody receives such a message."""
        self.counters = Counters()
        self.topics = TopicCache(max_levels=self.limits.max_topic_levels, limited=self.counters.limited)
        self.connection_limits = ConnectionLimits()
        self.failures = LoginFailures()
        self.bans = Bans()
        self.sessions = Registry()
        self.channels: set[Any] = set()
        """Every open connection, admitted or not."""
        self.arriving = 0
        """Connections without a channel yet: their TLS handshake, or PROXY header, is under way."""
        self.parting: set[Any] = set()
        """Channels that the broker has ended, and whose clients may still read the reason."""
        self.taps: tuple[Tap, ...] = ()
        """The taps of connections made from now on."""
        self.connected = 0
        """The number of connected clients."""
        self.connected_elsewhere = 0
        """How many are connected to neighbours; they count for `limits.max_connections`."""
        self.retained: RetainedMessages[Publish] = RetainedMessages(self.limits.max_retained)
        self.router: Router[Session] = Router(self.hooks.published_observers)
        self.pending = pending or Pending()
        self.reports = Reports(self.hooks, self.counters, clock)
        self.sender = Sender(
            self.pending,
            self.reports,
            clock,
            max_messages=self.mqtt.max_mqueue_len,
            max_bytes=self.limits.max_queued_bytes,
            retry_interval=self.mqtt.retry_interval,
            postpone=self._write_on_later,
        )
        self.fanout = Fanout(self.pending, self.sender, self.reports)
        self.spreading = Spreading(self)

    @property
    def mqtt(self) -> MqttSettings:
        """The limits of the protocol."""
        return self._mqtt

    @mqtt.setter
    def mqtt(self, mqtt: MqttSettings) -> None:
        self._mqtt = mqtt
        self.restrict()

    def restrict(self) -> None:
        """To be called also when the storage, or the queue of a neighbour or a bridge, is full, or has room
        again."""
        full = self.storage is not None and self.storage.full
        full |= self.neighbours is not None and self.neighbours.full
        full |= self.backlog is not None and self.backlog.full
        self.restricts_publish = self._mqtt.max_qos < 2 or not self._mqtt.retain_available or full
        """Whether some messages may not be published."""

    def start(self) -> None:
        """Start the engine's own timers."""
        self.clock.call_at(self.clock.monotonic() + EXPIRY_SWEEP, self._sweep)

    def flush(self) -> None:
        """Write all outboxes; called once after the packets of a read are handled."""
        if self.pending.outboxes or self.storage is not None:
            self.counters.packets_sent += self.pending.flush()
            self.counters.bytes_sent = self.pending.bytes

    def _write_on_later(self, session: Session) -> None:
        if session.channel is not None:
            self.turns.later(session.channel.write_on)

    def use(self, mqtt: MqttSettings, limits: Limits) -> None:
        """Use other settings from now on. A client keeps the limits that its CONNACK announced until it
        disconnects."""
        self.mqtt, self.limits = mqtt, limits
        self.topics.max_levels = limits.max_topic_levels
        self.topics.names.clear()
        self.retained.limit = limits.max_retained
        self.sender.max_messages = mqtt.max_mqueue_len
        self.sender.max_bytes = limits.max_queued_bytes
        self.sender.retry_interval = mqtt.retry_interval
        for session in self.sessions:
            self.sender.bound(session)
            if session.queue is not None:
                session.queue.max_messages = session.max_queued or mqtt.max_mqueue_len
                session.queue.max_bytes = limits.max_queued_bytes
        now = self.clock.monotonic()
        for channel in self.channels:
            channel.meter = None if channel.inside else meter(limits, now)

    def forget_answers(self) -> None:
        """Ask access control again about every topic: call it when the rules have changed."""
        access = self.access
        access.generation += 1
        for channel in self.channels:
            if channel.session is not None:
                channel.session.allowed.clear()
                channel.checks_topics = access.checks_topics and not channel.superuser

    def _sweep(self) -> None:
        self.retained.expire(self.clock.monotonic())
        self.flush()
        self.start()
