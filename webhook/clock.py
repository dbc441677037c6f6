"""The clock that webhooks use: the broker's own, or a test's virtual clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None:
        """Cancel the call. This does nothing if the call has been made."""


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that never run backwards, for deadlines."""

    def time(self) -> float:
        """Seconds since the epoch, for what people and other machines read."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once ``monotonic()`` has reached ``when``."""


class LoopClock:
    """The running event loop's time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def time(self) -> float:
        return time.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_at(when, callback)
