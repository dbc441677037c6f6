"""The state that a client keeps over its connections (MQTT 5.0 section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from ..events import Client
from ..packets.model import Will
from .inflight import Inflight, Outgoing
from .queue import MessageQueue

if TYPE_CHECKING:
    from ..clock import Timer
    from ..routing.subscription import Subscription
    from .keeper import Keeper


class Writable(Protocol):
    """The outbox of a connected client."""

    chunks: list[bytes]
    written: int
    """Bytes of the last flush."""

    def flush(self) -> int: ...
    def write_all(self, chunks: list[bytes]) -> None: ...


class Source(Protocol):
    """A source of messages for a session. The messages are made when there is room."""

    def add(self, subscription: Subscription) -> None: ...
    def go_on(self) -> None:
        """Send messages: there may be room now."""


EMPTY: set[int] = set()
"""Shared by all who have noted nothing. It is replaced before something is added: most never need one, and an
empty set takes 200 bytes."""
NO_ANSWERS: dict[str, bool] = {}
"""The same for answers of access control."""


class Session:
    """The subscriptions, inflight messages and queued messages of one client identifier."""

    __slots__ = (
        "allowed",
        "behind",
        "channel",
        "client",
        "elsewhere",
        "expiry",
        "expiry_timer",
        "full_window",
        "inflight",
        "keeper",
        "keeps_plain",
        "keeps_retained",
        "max_packet_size",
        "max_queued",
        "outbox",
        "queue",
        "queue_grew",
        "received",
        "repeats",
        "retry_timer",
        "screen",
        "small_packet",
        "source",
        "subscriptions",
        "superuser",
        "version",
        "will",
        "will_generation",
        "will_timer",
        "window",
    )

    def __init__(self, client: Client) -> None:
        self.client = client
        """The client of the last connection."""
        self.version = client.protocol_version
        self.elsewhere: Any = None
        """The neighbour whose sessions this stands for; None for a client's session."""
        self.keeper: Keeper | None = None
        """The keeper, which is told of every change; None if the state is only in memory."""
        self.expiry = 0.0
        """Seconds that the session outlives its connection; ``math.inf`` means never to expire."""
        self.max_packet_size = inf
        """The largest packet the client accepts, in bytes."""
        self.full_window = self.window = 65_535
        """The number of QoS 1 and 2 messages that may be unacknowledged at a time. ``window`` is 0 while the
        unacknowledged messages take all the bytes that they may."""
        self.small_packet = 0.0
        """Bytes of the largest packet that may be sent without another look at its size."""
        self.channel: Any = None
        """The connection, or None while the client is away."""
        self.outbox: Writable | None = None
        """The outbox for messages; None while the client is away or reads too slowly."""
        self.subscriptions: dict[str, Subscription] = {}
        self.inflight = Inflight()
        self.received = EMPTY
        """Identifiers of received QoS 2 messages that are not released yet [MQTT-4.3.3-10]. Only
        :meth:`receive` adds one."""
        self.queue: MessageQueue | None = None
        """The queue; None until the first message has to wait."""
        self.queue_grew: Callable[[Session], None] | None = None
        """Called after a message was queued; None: not needed."""
        self.max_queued = 0
        """The number of messages that may wait; 0: the limit of all sessions."""
        self.keeps_plain = self.keeps_retained = False
        """Whether messages of QoS 0, or only retained ones, wait for a client that is away, like those of QoS
        1."""
        self.repeats = True
        """Whether messages are sent again on the same connection, if the version of MQTT allows it."""
        self.source: Source | None = None
        """The source of messages that are made when there is room; None: there is none."""
        self.behind = False
        """Whether the queue has messages that only the keeper has. New messages wait behind them."""
        self.will: Will | None = None
        self.will_generation = -1
        """The generation of access control that last allowed the will. With another one, access control is
        asked again."""
        self.allowed = NO_ANSWERS
        """The answers of access control about publishing, by topic. Only :meth:`allow` adds one."""
        self.superuser = False
        """Whether the client may do everything."""
        self.screen: Any = None
        """The answers of access control about receiving topics; None: no answers yet."""
        self.expiry_timer: Timer | None = None
        self.will_timer: Timer | None = None
        self.retry_timer: Timer | None = None

    @property
    def client_id(self) -> str:
        return self.client.client_id

    @property
    def connected(self) -> bool:
        return self.channel is not None

    def receive(self, packet_id: int) -> None:
        """Note the identifier of a QoS 2 message."""
        if self.received is EMPTY:
            self.received = set()
        self.received.add(packet_id)

    def allow(self, topic: str, allowed: bool) -> None:
        """Remember an answer of access control about publishing."""
        if self.allowed is NO_ANSWERS:
            self.allowed = {}
        self.allowed[topic] = allowed

    def unfinished(self) -> list[Outgoing]:
        """The inflight and queued messages that the client may still get, oldest first."""
        inflight = [m for m in self.inflight.messages.values() if not m.released]
        return inflight + (self.queue.messages() if self.queue else [])
