"""The streams of events of the other processes of a broker, passed on to one page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

OPEN_WITHIN = 2.0
"""Seconds that a worker may take to open its stream."""
SILENT_AFTER = 40.0
"""Seconds without a byte after which a stream is opened anew; pings come more often."""
AGAIN = 1.0
"""Seconds until a stream that has ended is opened again."""
END = b"\n\n"

Write = Callable[[bytes], Awaitable[None]]


class Relays:
    """Every worker's events, as they come. The page is told of a worker that does not answer, by an event
    `worker` with its number, and of its return."""

    def __init__(self, workers: Mapping[int, Path], path: str, query: Mapping[str, str]) -> None:
        """``workers`` are their numbers, and where their servers are; ``path`` and ``query`` are the page's
        request."""
        self._workers = workers
        self._url = URL("http://localhost").with_path(path).with_query(query)
        self._streams: dict[int, _Stream] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open the streams of all that answer; from now on nothing of these is missed."""
        await asyncio.gather(*(self._open(worker) for worker in self._workers))

    def start(self, write: Write, broken: Callable[[], None]) -> None:
        """Pass events on by ``write``; where it raises an error, ``broken`` is called."""
        for worker in self._workers:
            self._tasks.append(asyncio.create_task(self._pass_on(worker, write, broken)))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in self._streams.values():
            await stream.session.close()

    async def _open(self, worker: int) -> None:
        session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self._workers[worker])),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=SILENT_AFTER),
        )
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                answer = await session.get(self._url)
            answer.raise_for_status()
        except BaseException as error:
            await session.close()
            if not isinstance(error, aiohttp.ClientError | OSError):  # TimeoutError is one
                raise
        else:
            self._streams[worker] = _Stream(session, answer)

    async def _pass_on(self, worker: int, write: Write, broken: Callable[[], None]) -> None:
        async def tell(answers: bool) -> bool:
            words = json.dumps({"worker": worker, "answers": answers})
            return await _written(write, f"event: worker\ndata: {words}\n\n".encode(), broken)

        answered = True
        while True:
            stream = self._streams.get(worker)
            if stream is not None:
                taken = (answered or await tell(True)) and await _pump(stream.answer, write, broken)
                del self._streams[worker]
                await stream.session.close()
                if not taken:
                    return
                answered = True
            if answered and not await tell(False):
                return
            answered = False
            await asyncio.sleep(AGAIN)
            await self._open(worker)


@dataclass(frozen=True, slots=True)
class _Stream:
    session: aiohttp.ClientSession
    answer: aiohttp.ClientResponse


async def _pump(stream: aiohttp.ClientResponse, write: Write, broken: Callable[[], None]) -> bool:
    """Pass on whole events until the stream ends; whether the page still takes them."""
    rest = b""
    try:
        async for data in stream.content.iter_any():
            whole, end, rest = (rest + data).rpartition(END)
            if end and not await _written(write, whole + end, broken):
                return False
    except (aiohttp.ClientError, OSError, TimeoutError):
        pass
    return True


async def _written(write: Write, data: bytes, broken: Callable[[], None]) -> bool:
    try:
        await write(data)
    except (OSError, TimeoutError):
        broken()
        return False
    return True
