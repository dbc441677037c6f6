"""Which notification goes out when several of one kind come close together. Pure: the time is handed in.

Of the events of one key one is pushed each ``interval``; it says what the newest of them says.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from ..parcels import Delivery

Key = tuple[str, str]
"""Client and collapse key."""

MOST_KEYS: Final = 10_000
"""Keys that are remembered; of more, the oldest are forgotten, and may be pushed sooner."""
REMEMBERED: Final = 60.0
"""Seconds beyond the interval: so long a newer notification keeps back an older one that is tried again."""


class _Slot:
    __slots__ = ("held", "latest", "next_at", "pushed")

    def __init__(self) -> None:
        self.latest: Delivery | None = None
        """The newest event that was not pushed yet, without its body."""
        self.pushed = 0
        """The number of the newest event that was pushed."""
        self.held: str | None = None
        """The event that waits for ``next_at``, and carries what all others say."""
        self.next_at = 0.0


class Collapse:
    """What becomes of each event: it is pushed now, put off, or carried by another."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._slots: OrderedDict[Key, _Slot] = OrderedDict()
        """The one that was pushed last is the last."""

    def forget(self) -> None:
        """Whatever is held comes to another place."""
        self._slots.clear()

    def decide(self, key: Key, group: Sequence[Delivery], now: float) -> list[Delivery | float | None]:
        """For each event of ``group``, all of one key: what to push in its place, the seconds it has to
        wait, or None where another event carries what it says."""
        if not self._interval:
            return list(group)
        self._forget_old(now)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = _Slot()
        newest = max(group, key=lambda event: event.seq)
        if newest.seq > (slot.pushed if slot.latest is None else slot.latest.seq):
            slot.latest = _without_body(newest)
        # The one that is held must not vanish in another of its batch: it is all there is of others.
        carrier = next((event for event in group if event.id == slot.held), group[-1])
        return [self._decide(key, slot, event, now) if event is carrier else None for event in group]

    def _decide(self, key: Key, slot: _Slot, event: Delivery, now: float) -> Delivery | float | None:
        if slot.held not in (None, event.id):
            return None
        slot.held = None
        if slot.latest is None:
            return None
        if now < slot.next_at:
            slot.held = event.id
            return slot.next_at - now
        slot.next_at = now + self._interval
        self._slots.move_to_end(key)
        return slot.latest

    def pushed(self, key: Key, content: Delivery) -> None:
        """``content`` has arrived."""
        if slot := self._slots.get(key):
            slot.pushed = max(slot.pushed, content.seq)
            if slot.latest is not None and slot.latest.seq <= slot.pushed:
                slot.latest = None

    def failed(self, key: Key, now: float) -> None:
        """What was pushed has not arrived: the next try need not wait."""
        if slot := self._slots.get(key):
            slot.next_at = now

    def cut_off(self, key: Key, event: Delivery) -> None:
        """Nobody hears what was decided of ``event``: it comes again, or is given up."""
        if (slot := self._slots.get(key)) and slot.held == event.id:
            slot.held = None

    def _forget_old(self, now: float) -> None:
        while self._slots:
            key, slot = next(iter(self._slots.items()))
            if len(self._slots) < MOST_KEYS and slot.next_at + REMEMBERED > now:
                return
            del self._slots[key]


def _without_body(event: Delivery) -> Delivery:
    """A slot may keep it long after the event has left the queue, which counts its bytes."""
    e = event
    return Delivery(e.seq, e.id, e.at, e.event, e.topic, e.client, e.headers, b"")
