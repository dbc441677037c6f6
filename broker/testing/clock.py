"""The virtual clock: time moves only when a test moves it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from math import inf

from ..clock import Timer, Timers

STEPS = 5
"""Turns of the event loop between two looks at whether anything still happens."""


class VirtualClock:
    """Starts at the present moment. What is due at once is done at once; all else waits for `advance`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        happenings: Callable[[], Hashable],
        busy: Callable[[], object] = lambda: False,
    ) -> None:
        self._loop = loop
        self._happenings = happenings
        """Changes whenever something happens in the broker."""
        self._busy = busy
        """Whether something goes on in another thread."""
        self._now = 0.0
        self._epoch = time.time()
        self._timers = Timers()

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._epoch + self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        if when <= self._now:
            self._loop.call_soon(self._run_due)
        return self._timers.add(when, callback)

    def stop(self) -> None:
        self._timers = Timers()

    async def advance(self, seconds: float) -> None:
        """Advance the time, stopping at each timer that is due until its work is done. Raises ValueError for
        an invalid number of seconds."""
        if not 0 <= seconds < inf:
            raise ValueError(f"advance takes a finite number of seconds, at least 0, not {seconds}")
        target = self._now + seconds
        await self._settle()
        while (due := self._timers.next_due()) is not None and due <= target:
            self._now = max(self._now, due)
            self._run_due()
            await self._settle()
        self._now = max(self._now, target)  # another advance may have gone further meanwhile

    def _run_due(self) -> None:
        self._timers.run(self._now)

    async def _settle(self) -> None:
        """Let tasks run, such as those that post webhooks, until nothing happens any more."""
        before: Hashable = None
        while before != (now := self._happenings()) or self._busy():
            before = now
            for _ in range(STEPS):
                await asyncio.sleep(0)
