"""The messages that several bridges, or one without No Local, exchange with the same remote broker. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..routing.topics import overlap
from .settings import BridgeSettings
from .tally import Tally, mark_of

SECONDS = 10.0
"""How long a message is remembered, at least."""


@dataclass(frozen=True, slots=True)
class _Topics:
    """The topic filters of one bridge, as the remote broker has them."""

    out: tuple[str, ...]
    into: tuple[str, ...]


class Echoes:
    """Each message passes once, whichever of the bridges it may use.

    A message that has gone out over one bridge does not go out over another, and does not come back. One that
    has come in over a bridge comes in over no other, and does not go out again over another.
    """

    def __init__(self) -> None:
        self._tally = Tally(SECONDS)
        self._bridges: dict[str, _Topics] = {}

    def join(self, settings: BridgeSettings) -> None:
        self._bridges[settings.name] = _Topics(
            tuple(one.mapping.target_filter() for one in settings.forwards),
            ("#",) if settings.transparent else tuple(one.mapping.source for one in settings.subscriptions),
        )

    def leave(self, name: str) -> None:
        self._bridges.pop(name, None)

    def concern(self, name: str, *, no_local: bool) -> bool:
        """Whether a message of this bridge may pass a second time: over another bridge, or, without
        ``no_local``, back over this one."""
        own = self._bridges[name]
        if not no_local and _meet(own.out, own.into):
            return True
        all_own = (*own.out, *own.into)
        others = [other for other_name, other in self._bridges.items() if other_name != name]
        return any(_meet(all_own, (*other.out, *other.into)) for other in others)

    def __len__(self) -> int:
        return len(self._tally)

    def goes(self, name: str, topic: str, payload: bytes, now: float) -> bool:
        """Whether the bridge sends this message; asked once for each. ``topic`` is the remote one."""
        way, mark = f"to {name}", mark_of(topic, payload)
        if self._tally.is_behind(way, mark, now):
            self._tally.catch_up(way, mark)
            return False
        self._tally.add(mark, way, now=now)
        return True

    def is_echo(self, name: str, topic: str, payload: bytes, now: float) -> bool:
        """Whether this message, which the bridge has received, has passed already; asked once for each."""
        way, mark = f"from {name}", mark_of(topic, payload)
        if self._tally.is_behind(way, mark, now):
            self._tally.catch_up(way, mark)
            return True
        self._tally.add(mark, way, f"to {name}", now=now)
        return False


def _meet(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return any(overlap(one, other) for one in some for other in others)
