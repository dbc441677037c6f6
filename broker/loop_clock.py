"""The clock of a running event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from .clock import Timer, Timers


class LoopClock:
    """A clock with one timer of the event loop, for the earliest call, however many calls are pending."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers = Timers()
        self._armed: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        """When ``_armed`` is due. uvloop's handle does not tell it once the moment has passed."""
        self.monotonic = loop.time
        self.time = time.time

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = self._timers.add(when, callback)
        if self._armed is None or when < self._armed_for:
            self._arm(when)
        return timer

    def stop(self) -> None:
        """Make no more calls."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        self._timers = Timers()

    def _arm(self, when: float) -> None:
        if self._armed is not None:
            self._armed.cancel()
        self._armed = self._loop.call_at(when, self._run)
        self._armed_for = when

    def _run(self) -> None:
        self._armed = None
        try:
            self._timers.run(self._loop.time())
        finally:
            self._arm_next()

    def _arm_next(self) -> None:
        due = self._timers.next_due()
        if due is not None and (self._armed is None or due < self._armed_for):
            self._arm(due)
