"""One direction of a connection, slowed down by faults. Bytes leave in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ..clock import Clock, Timer

TRICKLE = 0.05
"""Under a limit a packet leaves in pieces; a piece has the bytes of so many seconds."""


class Pace(NamedTuple):
    """The current latency and rate."""

    latency: float = 0.0
    """Seconds."""
    rate: float = 0.0
    """Bytes a second; 0 is without limit."""
    stalled: bool = False
    jitter: Callable[[], float] | None = None
    """Returns the random part of the latency."""


FREE = Pace()


class Lane:
    """Delays the bytes, or the end of the connection, that are put into it."""

    __slots__ = ("_busy_until", "_clock", "_last_due", "_pace", "_queue", "_timer", "waiting")

    def __init__(self, clock: Clock, pace: Callable[[], Pace]) -> None:
        self._clock = clock
        self._pace = pace
        self._queue: deque[tuple[float, int, Callable[[], None]]] = deque()
        self._timer: Timer | None = None
        self._busy_until = 0.0
        self._last_due = 0.0
        self.waiting = 0
        """Bytes that have not come out yet."""

    def __bool__(self) -> bool:
        """Whether anything waits; the end of the connection counts too."""
        return bool(self._queue)

    def put(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        """Pass ``data`` to ``deliver``, now or later; in pieces if there is a limit."""
        pace = self._pace()
        if pace == FREE and not self._queue:
            deliver(data)
            return
        step = max(1, int(pace.rate * TRICKLE)) if pace.rate else len(data)
        for start in range(0, len(data), step or 1):
            piece = data[start : start + step]
            self._append(len(piece), lambda piece=piece: deliver(piece), pace)  # type: ignore[misc]
        self._arm()

    def then(self, call: Callable[[], None]) -> None:
        """Make ``call`` after everything that was put before, with the delay of bytes."""
        pace = self._pace()
        if pace == FREE and not self._queue:
            call()
        else:
            self._append(0, call, pace)
            self._arm()

    def look_again(self) -> None:
        """The pace may have changed: deliver what only a removed fault was delaying."""
        if self._pace() == FREE:
            self._let_out(float("inf"))
        else:
            self._run()

    def clear(self) -> None:
        """Discard everything that waits."""
        self._queue.clear()
        self.waiting = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _append(self, size: int, call: Callable[[], None], pace: Pace) -> None:
        now = self._clock.monotonic()
        if pace.rate:
            self._busy_until = max(now, self._busy_until) + size / pace.rate
        latency = pace.latency + (pace.jitter() if pace.jitter else 0.0)
        self._last_due = max(self._last_due, now + latency, self._busy_until + latency)
        self._queue.append((self._last_due, size, call))
        self.waiting += size

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue and not self._pace().stalled:
            self._timer = self._clock.call_at(self._queue[0][0], self._run)

    def _run(self) -> None:
        if not self._pace().stalled:
            self._let_out(self._clock.monotonic())
        self._arm()

    def _let_out(self, now: float) -> None:
        while self._queue and self._queue[0][0] <= now:
            _, size, call = self._queue.popleft()
            self.waiting -= size
            call()
