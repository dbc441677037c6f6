"""The limits of connections, of each listener and for the broker: their number and rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ..config.settings import Limits, ListenerSettings
from .rates import Bucket

MAX_UNANNOUNCED = 1000
"""Connections beyond `limits.max_connections` that are kept until their CONNECT can be refused with a reason.
Further connections are closed at once."""


class ListenerLimits:
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


class ConnectionLimits:
    """All listeners' limits, by the listener's name. A listener without settings has no limits of its own."""

    def __init__(self) -> None:
        self._listeners: dict[str, ListenerLimits] = {}

    def __getitem__(self, listener: str) -> ListenerLimits:
        one = self._listeners.get(listener)
        if one is None:
            one = self._listeners[listener] = ListenerLimits()
        return one

    def connected(self) -> dict[str, int]:
        """How many clients are connected through each listener."""
        return {name: one.connected for name, one in self._listeners.items() if one.connected}

    def elsewhere(self, nodes: Iterable[Mapping[str, int]]) -> None:
        """What :meth:`connected` says on each of the neighbours."""
        found: Counter[str] = Counter()
        for node in nodes:
            found.update(node)
        for name, one in self._listeners.items():
            one.elsewhere = found[name]

    def set(self, limits: Limits, listeners: Iterable[ListenerSettings], now: float) -> None:
        """Use these limits from now on; connected clients stay."""
        for listener in listeners:
            limited = self[listener.name]
            limited.max_connections = listener.max_connections
            rate = limits.connect_rate if listener.connect_rate is None else listener.connect_rate
            limited.arrivals = Bucket(rate, now) if rate else None


def is_full(listener: ListenerLimits, connected: int, limits: Limits) -> str:
    """Why no further client may connect through ``listener``; empty if one may."""
    if connected >= limits.max_connections:
        return f"{limits.max_connections} clients are connected, which is the limit"
    if (
        listener.max_connections is not None
        and listener.connected + listener.elsewhere >= listener.max_connections
    ):
        return f"{listener.max_connections} clients are connected to this listener, which is the limit"
    return ""
