"""The state a client keeps over its connections (MQTT 5.0 section 4.1)."""

from __future__ import annotations

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
    """Where the packets for a connected client go."""

    chunks: list[bytes]
    written: int
    """Bytes of the last flush."""

    def flush(self) -> int: ...
    def write_all(self, chunks: list[bytes]) -> None: ...


class Source(Protocol):
    """Has more messages for a session than there was room for."""

    def add(self, subscription: Subscription) -> None: ...
    def go_on(self) -> None:
        """There may be room."""


class Session:
    """Subscriptions, messages in flight and messages waiting, of one client identifier."""

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
        "max_packet_size",
        "outbox",
        "queue",
        "received",
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
        """As it last connected."""
        self.version = client.protocol_version
        self.elsewhere: Any = None
        """The neighbour whose sessions this stands for; None for a client's session."""
        self.keeper: Keeper | None = None
        """Who is told of every change; None where the state is nowhere else."""
        self.expiry = 0.0
        """Seconds the session outlives its connection; ``math.inf`` is for ever."""
        self.max_packet_size = inf
        """The largest packet the client accepts, in bytes."""
        self.full_window = self.window = 65_535
        """How many QoS 1 and 2 messages may be unacknowledged towards it at a time. ``window`` is 0 while
        what is unacknowledged takes as many bytes as it may."""
        self.small_packet = 0.0
        """Bytes of the largest packet that may be sent without another look at its size."""
        self.channel: Any = None
        """The connection, or None while the client is away."""
        self.outbox: Writable | None = None
        """Where a message can be written now; None while the client is away or reads too slowly."""
        self.subscriptions: dict[str, Subscription] = {}
        self.inflight = Inflight()
        self.received: set[int] = set()
        """Identifiers of QoS 2 messages that came and are not released yet [MQTT-4.3.3-10]."""
        self.queue: MessageQueue | None = None
        """Made when the first message has to wait."""
        self.source: Source | None = None
        """Of messages that are made once there is room for them; None: there are none."""
        self.behind = False
        """Whether messages wait that the keeper alone has: new ones wait behind them."""
        self.will: Will | None = None
        self.will_generation = -1
        """Of access control when it last allowed the will; another one now: it is asked again."""
        self.allowed: dict[str, bool] = {}
        """What access control said of publishing to a topic."""
        self.superuser = False
        """Whether the client may do everything."""
        self.screen: Any = None
        """What access control has worked out about which topics the client may receive; None: nothing yet."""
        self.expiry_timer: Timer | None = None
        self.will_timer: Timer | None = None
        self.retry_timer: Timer | None = None

    @property
    def client_id(self) -> str:
        return self.client.client_id

    @property
    def connected(self) -> bool:
        return self.channel is not None

    def unfinished(self) -> list[Outgoing]:
        """The messages in flight and waiting, oldest first; what the client may still get."""
        inflight = [m for m in self.inflight.messages.values() if not m.released]
        return inflight + (self.queue.messages() if self.queue else [])
