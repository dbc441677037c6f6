"""Work that takes long, a little of it in each round of the event loop, so that nobody waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .engine import Spawn

TURN = 0.01
"""Seconds that the work of one client may take at a time, and all work that was put off in one round of the
event loop."""

Work: TypeAlias = Generator[Awaitable[Any] | None, Any, None]
"""Yields None where it may be put off, after each small piece, or what it waits for, and gets the answer."""


class Turns:
    """Whose turn it is, of all that was put off."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._waiting: deque[Callable[[], None]] = deque()
        self._called = False
        """Whether the event loop is to call us."""
        self.now: Callable[[], float] = perf_counter
        """Seconds, for :meth:`end`. Not the loop's clock, which may stand still during one round."""

    def end(self) -> float:
        """When a turn that begins now is over."""
        return self.now() + TURN

    def later(self, job: Callable[[], None]) -> None:
        """Call ``job`` in one of the next rounds of the event loop, after those that wait already."""
        self._waiting.append(job)
        self._call()

    def _call(self) -> None:
        if self._waiting and not self._called:
            self._called = True
            self._spawn(asyncio.sleep(0), self._round)

    def _round(self, _: object) -> None:
        """Each of those that wait has at most one turn; once these took long the others wait for the next."""
        self._called = False
        end = self.end()
        try:
            for _ in range(len(self._waiting)):
                self._waiting.popleft()()
                if self.now() > end:
                    break
        finally:
            self._call()
