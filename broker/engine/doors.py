"""The limits of connections for each listener and for the broker: their number and rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ..config.settings import Limits, ListenerSettings
from .rates import Bucket

MAX_UNANNOUNCED = 1000
"""Connections beyond `limits.max_connections` that are kept until their CONNECT can be refused with a reason.
Further connections are closed at once."""


class Door:
    """The limits of one listener."""

    __slots__ = ("arrivals", "connected", "elsewhere", "max_connections")

    def __init__(self) -> None:
        self.connected = 0
        """Connected clients of this listener."""
        self.elsewhere = 0
        """The same, of the neighbours."""
        self.max_connections: int | None = None
        self.arrivals: Bucket | None = None
        """The rest of the allowance for new connections; None: no limit."""


class Doors:
    """All listeners' limits, by the listener's name. A listener without settings has no limits of its own."""

    def __init__(self) -> None:
        self._doors: dict[str, Door] = {}

    def __getitem__(self, listener: str) -> Door:
        door = self._doors.get(listener)
        if door is None:
            door = self._doors[listener] = Door()
        return door

    def connected(self) -> dict[str, int]:
        """How many clients are connected through each listener."""
        return {name: door.connected for name, door in self._doors.items() if door.connected}

    def elsewhere(self, nodes: Iterable[Mapping[str, int]]) -> None:
        """What :meth:`connected` says on each of the neighbours."""
        found: Counter[str] = Counter()
        for node in nodes:
            found.update(node)
        for name, door in self._doors.items():
            door.elsewhere = found[name]

    def set(self, limits: Limits, listeners: Iterable[ListenerSettings], now: float) -> None:
        """Use these limits from now on; connected clients stay."""
        for listener in listeners:
            door = self[listener.name]
            door.max_connections = listener.max_connections
            rate = limits.connect_rate if listener.connect_rate is None else listener.connect_rate
            door.arrivals = Bucket(rate, now) if rate else None


def is_full(door: Door, connected: int, limits: Limits) -> str:
    """Why no further client may connect through ``door``; empty if one may."""
    if connected >= limits.max_connections:
        return f"{limits.max_connections} clients are connected, which is the limit"
    if door.max_connections is not None and door.connected + door.elsewhere >= door.max_connections:
        return f"{door.max_connections} clients are connected to this listener, which is the limit"
    return ""
