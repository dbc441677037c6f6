"""Runs coroutines that mostly have their answer at once, without a task."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def step(coroutine: Coroutine[Any, Any, T]) -> T | Coroutine[Any, Any, T]:
    """Run ``coroutine`` up to where it first waits: its result, or a coroutine that does the rest.

    Up to there no task is running, so it must not ask for one, as ``asyncio.timeout`` does.
    """
    try:
        waited_for = coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    return _finish(_Rest(coroutine, waited_for))


async def _finish(rest: _Rest[T]) -> T:
    return await rest


class _Rest(Generic[T]):
    """Awaits a coroutine that was already started by hand."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], waited_for: Any) -> None:
        self._coroutine = coroutine
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, T]:
        waited_for = self._waited_for
        while True:
            proceed: Callable[[], Any]
            try:
                answer = yield waited_for
            except BaseException as error:  # a cancellation, most likely: the coroutine's own affair
                proceed = partial(self._coroutine.throw, error)
            else:
                proceed = partial(self._coroutine.send, answer)
            try:
                waited_for = proceed()
            except StopIteration as done:
                result: T = done.value
                return result
