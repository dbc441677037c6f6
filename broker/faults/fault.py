"""One fault as a test, the command line or the configuration describes it: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

PACKETS = (
    *("CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK"),
    *("UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"),
)
DIRECTIONS = ("in", "out")
"""The directions as the broker sees them: from the client, to the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong, for whom, when, and how much.

    ``refuse`` answers CONNECT with a reason code; ``lose_session`` has forgotten the client's session when it
    comes. ``drop``, ``delay``, ``repeat`` and ``corrupt`` happen to a packet; ``close`` breaks the connection
    after it, ``restart`` takes the broker down in its place. ``cut``, ``stall`` (nothing is read, or sent,
    as long as the fault is in force), ``limit`` and ``latency`` happen to a connection.
    """

    action: str
    """A key of ACTIONS."""

    client: str | None = None
    """Only clients whose identifier matches this pattern (``*``, ``?``, ``[ab]``). It is unknown before
    CONNECT."""
    topic: str | None = None
    """Only packets about a topic that this filter matches. An acknowledgement is about the topic of its
    message."""
    packet: str | None = None
    """Only packets of this type, such as ``PUBACK``."""
    direction: str | None = None
    """``in``: only what comes from the client; ``out``: only what goes to it."""
    nth: int | None = None
    """Only the nth such packet of each connection, counted from 1."""
    times: int | None = None
    """At most so often in all."""
    probability: float = 1.0
    seed: int = 0
    """The seed for ``probability``, ``jitter`` and ``corrupt``. The same seed gives the same faults."""

    code: int | str | None = None
    """refuse: the reason code by number or by name; ``not_authorized`` where it is not given."""
    seconds: float | None = None
    """delay, latency: how long; restart: how long the broker is away."""
    jitter: float | None = None
    """latency: up to so many seconds more."""
    count: int | None = None
    """repeat: how many copies beside the packet itself; 1 where it is not given."""
    byte: int | None = None
    """corrupt: which byte of the packet, from 0, or from the end below 0; any where it is not given."""
    after_bytes: int | None = None
    """cut: how many bytes of a connection pass, in each direction, until it breaks."""
    rate: float | None = None
    """limit: bytes a second."""
    keep_state: bool | None = None
    """restart: whether sessions and retained messages survive; they do where it is not given."""

    def __str__(self) -> str:
        given = [f"{name}={value}" for name, value in self.given().items() if name != "action"]
        return " ".join([self.action, *given])

    def given(self) -> dict[str, object]:
        """The fields that differ from their defaults, in order."""
        fields = type(self).__dataclass_fields__
        return {name: getattr(self, name) for name in fields if getattr(self, name) != fields[name].default}


class AimAndAmount(TypedDict, total=False):
    """The fields of `Fault` but ``action``, as keyword arguments."""

    client: str | None
    topic: str | None
    packet: str | None
    direction: str | None
    nth: int | None
    times: int | None
    probability: float
    seed: int
    code: int | str | None
    seconds: float | None
    jitter: float | None
    count: int | None
    byte: int | None
    after_bytes: int | None
    rate: float | None
    keep_state: bool | None


PACKET_AIMS = frozenset({"client", "topic", "packet", "direction", "nth", "times", "probability", "seed"})
CONNECT_AIMS = frozenset({"client", "nth", "times", "probability", "seed"})
CONNECTION_AIMS = frozenset({"client", "direction", "seed"})

ACTIONS: dict[str, tuple[frozenset[str], frozenset[str], frozenset[str]]] = {
    "refuse": (CONNECT_AIMS, frozenset(), frozenset({"code"})),
    "drop": (PACKET_AIMS, frozenset(), frozenset()),
    "delay": (PACKET_AIMS, frozenset({"seconds"}), frozenset()),
    "repeat": (PACKET_AIMS, frozenset(), frozenset({"count"})),
    "corrupt": (PACKET_AIMS, frozenset(), frozenset({"byte"})),
    "close": (PACKET_AIMS, frozenset(), frozenset()),
    "cut": (CONNECTION_AIMS | {"times"}, frozenset({"after_bytes"}), frozenset()),
    "stall": (CONNECTION_AIMS, frozenset(), frozenset()),
    "limit": (CONNECTION_AIMS, frozenset({"rate"}), frozenset()),
    "latency": (CONNECTION_AIMS, frozenset({"seconds"}), frozenset({"jitter"})),
    "lose_session": (CONNECT_AIMS, frozenset(), frozenset()),
    "restart": (PACKET_AIMS, frozenset(), frozenset({"keep_state", "seconds"})),
}
"""For each action: how it may be aimed, which amounts it needs, and which it may have."""
