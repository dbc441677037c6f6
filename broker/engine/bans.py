"""Clients that may not connect until a given time, whatever their credentials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from ..events import Client

KINDS = ("clientid", "username", "peerhost")
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Ban:
    kind: str
    """One of KINDS."""
    who: str
    reason: str = ""
    by: str = ""
    at: float = 0.0
    """Seconds since the epoch."""
    until: float = inf


class Bans:
    """All bans, at most ``MOST``."""

    def __init__(self) -> None:
        self._bans: dict[tuple[str, str], Ban] = {}
        self.watchers: tuple[Callable[[str, str, Ban | None], None], ...] = ()
        """Told of each ban that is put in force, by kind and name, and of each that is lifted or over."""

    def __bool__(self) -> bool:
        return bool(self._bans)

    def put(self, ban: Ban) -> bool:
        """Put the ban in force; False if there are too many."""
        if len(self._bans) >= MOST and (ban.kind, ban.who) not in self._bans:
            return False
        self._bans[ban.kind, ban.who] = ban
        self._tell(ban.kind, ban.who, ban)
        return True

    def lift(self, kind: str, who: str) -> bool:
        """Remove the ban; False if there was none."""
        if self._bans.pop((kind, who), None) is None:
            return False
        self._tell(kind, who, None)
        return True

    def all(self, now: float) -> list[Ban]:
        """Those in force."""
        for key in [key for key, ban in self._bans.items() if ban.until <= now]:
            self.lift(*key)
        return list(self._bans.values())

    def of(self, client: Client, now: float) -> Ban | None:
        """The ban that applies to ``client``, or None."""
        for key in (
            ("clientid", client.client_id),
            ("username", client.username or ""),
            ("peerhost", client.host),
        ):
            ban = self._bans.get(key)
            if ban is not None and ban.until > now:
                return ban
        return None

    def _tell(self, kind: str, who: str, ban: Ban | None) -> None:
        for watcher in self.watchers:
            watcher(kind, who, ban)
