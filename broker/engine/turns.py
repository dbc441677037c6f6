"""Long work in small pieces, one in each round of the event loop, so that other clients need not wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .engine import Spawn

TURN = 0.01
"""Seconds of work for one client at a time, and for all postponed work in one round of the event loop."""

Work: TypeAlias = Generator[Awaitable[Any] | None, Any, None]
"""A job: it yields None after each small piece, where it may be postponed, or an awaitable, whose result it
gets."""


class Turns:
    """The queue of postponed work."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._waiting: deque[Callable[[], None]] = deque()
        self._called = False
        """Whether a call by the event loop is scheduled."""
        self.now: Callable[[], float] = perf_counter
        """Seconds, for :meth:`end`. Not the loop's clock, which may stand still during one round."""

    def end(self) -> float:
        """The end of a turn that begins now."""
        return self.now() + TURN

    def take(self, steps: Iterator[None]) -> bool:
        """Do as many of the steps as one turn has time for. Returns whether all are done; if not, the caller
        has to go on, such as with :meth:`later`."""
        end = self.end()
        return all(self.now() <= end for _ in steps)

    def later(self, job: Callable[[], None]) -> None:
        """Call ``job`` in one of the next rounds of the event loop, after the waiting ones."""
        self._waiting.append(job)
        self._call()

    def _call(self) -> None:
        if self._waiting and not self._called:
            self._called = True
            self._spawn(asyncio.sleep(0), self._round)

    def _round(self, _: object) -> None:
        """Each waiting job has at most one turn. Once the round has taken too long, the others wait for the
        next."""
        self._called = False
        end = self.end()
        try:
            for _ in range(len(self._waiting)):
                self._waiting.popleft()()
                if self.now() > end:
                    break
        finally:
            self._call()
