"""Selects the notification to send when several of one kind come close together. Pure: the time is passed in.

Of the events with the same key, one is pushed in each ``interval``, with the content of the newest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from ..parcels import Delivery

Key = tuple[str, str]
"""Client and collapse key."""

MOST_KEYS: Final = 10_000
"""The most keys that are remembered. Beyond it the oldest are forgotten, and their next event may be pushed
too early."""
REMEMBERED: Final = 60.0
"""Seconds after the interval in which an older notification, tried again, is not sent because a newer one
was."""


class _Slot:
    __slots__ = ("held", "latest", "next_at", "pushed")

    def __init__(self) -> None:
        self.latest: Delivery | None = None
        """The newest event that was not pushed yet, without its body."""
        self.pushed = 0
        """The number of the newest event that was pushed."""
        self.held: str | None = None
        """The event that waits for ``next_at`` and stands for all others."""
        self.next_at = 0.0


class Collapse:
    """Decides about each event: it is pushed now, put off, or replaced by another."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._slots: OrderedDict[Key, _Slot] = OrderedDict()
        """In the order of their last push."""

    def forget(self) -> None:
        """Forget everything: the events that wait are moved elsewhere."""
        self._slots.clear()

    def decide(self, key: Key, group: Sequence[Delivery], now: float) -> list[Delivery | float | None]:
        """Decide about each event of ``group``, which have the same key: the event to push in its place, the
        seconds that it has to wait, or None if another event replaces it."""
        if not self._interval:
            return list(group)
        self._forget_old(now)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = _Slot()
        newest = max(group, key=lambda event: event.seq)
        if newest.seq > (slot.pushed if slot.latest is None else slot.latest.seq):
            slot.latest = _without_body(newest)
        # The held event must not be replaced by another of its batch: it stands for earlier ones.
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
        """``content`` has been delivered."""
        if slot := self._slots.get(key):
            slot.pushed = max(slot.pushed, content.seq)
            if slot.latest is not None and slot.latest.seq <= slot.pushed:
                slot.latest = None

    def failed(self, key: Key, now: float) -> None:
        """The push has failed: the next try need not wait."""
        if slot := self._slots.get(key):
            slot.next_at = now

    def cut_off(self, key: Key, event: Delivery) -> None:
        """The try of ``event`` was interrupted: it is tried again, or given up."""
        if (slot := self._slots.get(key)) and slot.held == event.id:
            slot.held = None

    def _forget_old(self, now: float) -> None:
        while self._slots:
            key, slot = next(iter(self._slots.items()))
            if len(self._slots) < MOST_KEYS and slot.next_at + REMEMBERED > now:
                return
            del self._slots[key]


def _without_body(event: Delivery) -> Delivery:
    """A slot may keep the event long after it has left the queue, which counts its bytes."""
    e = event
    return Delivery(e.seq, e.id, e.at, e.event, e.topic, e.client, e.headers, b"")
