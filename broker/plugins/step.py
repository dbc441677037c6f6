"""Runs coroutines that mostly finish without waiting; for these it needs no task."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def step(coroutine: Coroutine[Any, Any, T]) -> T | Coroutine[Any, Any, T]:
    """Run ``coroutine`` until it waits for the first time. Returns its result, or a coroutine that does the
    rest. Until then no task runs it, so it must not ask for the current task, as ``asyncio.timeout`` does."""
    try:
        waited_for = coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    return _finish(_Rest(coroutine, waited_for))


async def _finish(rest: _Rest[T]) -> T:
    return await rest


class _Rest(Generic[T]):
    """Awaits a coroutine that :func:`step` has started."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], waited_for: Any) -> None:
        self._coroutine = coroutine
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, T]:
        waited_for = self._waited_for
        while True:
            proceed: Callable[[], Any]
            try:
                answer = yield waited_for
            except BaseException as error:  # most likely a cancellation: the coroutine handles it
                proceed = partial(self._coroutine.throw, error)
            else:
                proceed = partial(self._coroutine.send, answer)
            try:
                waited_for = proceed()
            except StopIteration as done:
                result: T = done.value
                return result
