"""The interface of clocks. Everything that depends on time is given one."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol


class Clock(Protocol):
    """The source of time. Tests and fixtures pass in one that they move themselves."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, for deadlines."""

    def time(self) -> float:
        """Seconds since the epoch, for people and other machines."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once ``monotonic()`` has reached ``when``."""

    def stop(self) -> None:
        """Make no more calls."""


class Timer:
    """One call that is due at a moment, unless it is cancelled first."""

    __slots__ = ("_timers", "callback", "when")

    def __init__(self, when: float, callback: Callable[[], None], timers: Timers) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback
        self._timers = timers

    def cancel(self) -> None:
        """Cancel the call. This does nothing if the call has been made."""
        if self.callback is not None:
            self.callback = None
            self._timers.cancelled()


class Timers:
    """The pending calls, earliest first. Calls due at the same moment keep the order in which they were
    added."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._dead = 0
        """Cancelled timers that are still in the heap."""

    def __len__(self) -> int:
        """The number of timers in the heap, cancelled ones included."""
        return len(self._heap)

    def add(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(when, callback, self)
        heappush(self._heap, (when, next(self._order), timer))
        return timer

    def cancelled(self) -> None:
        """Called when a timer is cancelled. Cancelled timers are removed once they are more than half of the
        heap; otherwise each client that disconnects would leave one behind until it is due."""
        self._dead += 1
        if self._dead > 100 and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapify(self._heap)
            self._dead = 0

    def next_due(self) -> float | None:
        """When the earliest timer is due that is not cancelled; None if there is none."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heappop(heap)
            self._dead -= 1
        return heap[0][0] if heap else None

    def run(self, now: float) -> None:
        """Make every call that is due at ``now``, in order; also those that the calls add."""
        while (due := self.next_due()) is not None and due <= now:
            timer = heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()


class ManualClock:
    """A clock whose time moves only by ``advance``: ``advance(90)`` makes all calls that are due within 90
    seconds."""

    def __init__(self, monotonic: float = 0.0, time: float = 1_700_000_000.0) -> None:
        self._now = monotonic
        self._epoch = time - monotonic
        self._timers = Timers()

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._epoch + self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return self._timers.add(when, callback)

    def stop(self) -> None:
        self._timers = Timers()

    def advance(self, seconds: float) -> None:
        """Move the time forward by ``seconds``. Each call sees the time at which it is due."""
        target = self._now + seconds
        while (due := self._timers.next_due()) is not None and due <= target:
            self._now = max(self._now, due)
            self._timers.run(self._now)
        self._now = target
