"""A bounded memory of messages that were equal in topic and payload. Pure."""

from __future__ import annotations

MOST = 100_000
"""Counts in each of the two halves: about 8 MB."""


class Tally:
    """How often each message has passed of late: in all, and by each way.

    A message that goes round arrives by a second way, and that way is then behind. A message that is sent
    again on purpose arrives by the way that the first one took, and that way is not behind.

    The counts are kept in two halves. The older half is forgotten after ``seconds``, or when the newer one is
    full. So a message is remembered for ``seconds`` at least, unless very many pass, and for twice as long at
    most.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._old: dict[int, int] = {}
        self._new: dict[int, int] = {}
        self._turns_at = 0.0

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    def has(self, mark: int, now: float) -> bool:
        """Whether such a message has passed."""
        self._turn(now)
        return mark in self._new or mark in self._old

    def is_behind(self, way: str, mark: int, now: float) -> bool:
        """Whether fewer such messages have passed by this way than in all."""
        self._turn(now)
        return self._half_behind(hash((way, mark)), mark) is not None

    def catch_up(self, way: str, mark: int) -> None:
        """Count a copy of a message that has passed by another way."""
        key = hash((way, mark))
        half = self._half_behind(key, mark)
        if half is not None:
            half[key] = half.get(key, 0) + 1

    def add(self, mark: int, *ways: str, now: float) -> None:
        """Count a message that has passed, for these ways."""
        self._turn(now)
        counts = self._new
        for key in (mark, *(hash((way, mark)) for way in ways)):
            counts[key] = counts.get(key, 0) + 1

    def clear(self) -> None:
        self._old, self._new = {}, {}

    def _half_behind(self, key: int, mark: int) -> dict[int, int] | None:
        for half in (self._old, self._new):
            if half.get(key, 0) < half.get(mark, 0):
                return half
        return None

    def _turn(self, now: float) -> None:
        if now < self._turns_at and len(self._new) < MOST:
            return
        stale = now >= self._turns_at + self._seconds
        self._old, self._new = ({} if stale else self._new), {}
        self._turns_at = now + self._seconds


def mark_of(topic: str, payload: bytes) -> int:
    """What stands for a message in a :class:`Tally`."""
    return hash((topic, payload))
