"""Waits for recorded things, and says what did arrive when a wait fails."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

TIMEOUT = 5.0
"""The default timeout, in seconds."""
SHOWN = 20
"""The number of items that a failed wait lists."""
LOOK_EVERY = 0.01
"""Seconds between two looks at a condition of the caller's own."""


class WaitTimeout(AssertionError):  # noqa: N818 - it is what a test asserts
    """A wait timed out; the message says what did arrive."""


class Search(Generic[T]):
    """Collects items until there are enough."""

    def __init__(
        self,
        wanted: str,
        count: int | None,
        matches: Callable[[T], bool],
        where: Callable[[T], object] | None,
    ) -> None:
        self.wanted = wanted
        self.count = 1 if count is None else count
        self.found: list[T] = []
        self._matches = matches
        self._where = where
        self._others: dict[int, tuple[T, str]] = {}
        """What came beside it, as it is by now, and why it did not count."""
        self._seen: set[int] = set()

    @property
    def complete(self) -> bool:
        return len(self.found) >= self.count

    def offer(self, item: T) -> None:
        """Look at ``item``; one that was found before, and has changed since, is not counted twice."""
        key = id(item)
        if self.complete or key in self._seen:
            return
        objection = self._objection(item)
        if objection is None:
            self._others.pop(key, None)
            self._seen.add(key)
            self.found.append(item)
        else:
            self._others[key] = item, objection

    def _objection(self, item: T) -> str | None:
        if not self._matches(item):
            return ""
        try:
            return None if self._where is None or self._where(item) else "  (where said no)"
        except Exception as error:
            return f"  (where failed: {type(error).__name__}: {error})"

    def failure(self, timeout: float) -> WaitTimeout:
        lines = [f"{self.wanted}: {len(self.found)} of {self.count} came within {timeout:g} s"]
        lines += [f"  found: {one}" for one in self.found[-SHOWN:]]
        others = list(self._others.values())
        if others:
            came = f"{len(others)} other{'s' if len(others) > 1 else ''} came"
            lines.append(came + (f", the last {SHOWN}:" if len(others) > SHOWN else ":"))
            lines += [f"  {item}{objection}" for item, objection in others[-SHOWN:]]
        else:
            lines.append("nothing else came")
        return WaitTimeout("\n".join(lines))


class Plan(Generic[T]):
    """A search, and how to hear of the items that come."""

    def __init__(
        self,
        search: Search[T],
        listen: Callable[[Callable[[T], None]], Iterable[T]],
        unlisten: Callable[[Callable[[T], None]], None],
    ) -> None:
        self.search = search
        self.listen = listen
        """Tells a callable, on the broker's thread, of each item from now on; returns those there are."""
        self.unlisten = unlisten


def wait(plan: Plan[T], timeout: float) -> list[T]:
    """Block until the search is complete. Raises WaitTimeout."""
    __tracebackhide__ = True
    search = plan.search
    items: queue.SimpleQueue[T] = queue.SimpleQueue()
    put = items.put
    deadline = time.monotonic() + timeout
    try:
        for item in plan.listen(put):
            search.offer(item)
        while not search.complete:
            search.offer(items.get(timeout=max(0.0, deadline - time.monotonic())))
    except queue.Empty:
        raise search.failure(timeout) from None
    finally:
        plan.unlisten(put)
    return search.found


async def wait_async(plan: Plan[T], timeout: float) -> list[T]:
    """The same for an event loop, which goes on meanwhile."""
    __tracebackhide__ = True
    search = plan.search
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[T] = asyncio.Queue()

    def put(item: T) -> None:
        loop.call_soon_threadsafe(items.put_nowait, item)

    try:
        async with asyncio.timeout(timeout):
            for item in plan.listen(put):
                search.offer(item)
            while not search.complete:
                search.offer(await items.get())
    except TimeoutError:
        raise search.failure(timeout) from None
    finally:
        plan.unlisten(put)
    return search.found


def wait_until(condition: Callable[[], object], timeout: float, describe: Callable[[], str]) -> None:
    """Block until ``condition()`` is true. Raises WaitTimeout."""
    __tracebackhide__ = True
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise WaitTimeout(f"not within {timeout:g} s: {describe()}")
        time.sleep(LOOK_EVERY)


async def wait_until_async(
    condition: Callable[[], object], timeout: float, describe: Callable[[], str]
) -> None:
    """The same for an event loop, which goes on meanwhile."""
    __tracebackhide__ = True
    try:
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 - the condition is the caller's own
                await asyncio.sleep(LOOK_EVERY)
    except TimeoutError:
        raise WaitTimeout(f"not within {timeout:g} s: {describe()}") from None


def refuse_to_block(name: str) -> None:
    """Raise RuntimeError where waiting would stop the event loop that the awaited client runs in."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        f"{name}() would block the event loop of this test; write: await broker.aio.{name}(...)"
    )
