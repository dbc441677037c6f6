"""Sessions that have ended while messages for them were on disk alone: what becomes of each of these."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..engine.engine import Engine
from ..session.inflight import Outgoing
from ..session.keeper import Left
from .keeper import Notes
from .restore import outgoing
from .rows import EntryRow, MessageRow, StretchRow, publish_of, stretch_of

log = logging.getLogger("pybroker.state")

AT_ONCE = 200
"""Messages that are handed on in one round of the event loop."""
AT_ONCE_BYTES = 1 << 20
RETRY = 2.0
"""Seconds until what failed is tried again."""

Rows = list[tuple[EntryRow, MessageRow] | StretchRow]


@dataclass(slots=True)
class Ending:
    number: int
    """Of the session."""
    client_id: str
    after: int
    """The number of the last message that is dealt with."""
    count: int
    """How many messages are left."""
    left: Left


class Endings:
    """Hands on the messages of sessions that have ended, some at a time. Such a session is on disk until all
    of its messages are dealt with, as one whose end is due; so a restart goes on."""

    def __init__(
        self,
        engine: Engine,
        notes: Notes,
        read: Callable[[int, int, int, int], Awaitable[Rows]],
        commit: Callable[[], Awaitable[bool]],
    ) -> None:
        self._engine = engine
        self._notes = notes
        self._read = read
        """Messages that wait for a session, as StateDatabase.waiting gives them."""
        self._commit = commit
        """All that is noted; whether it is done."""
        self._endings: deque[Ending] = deque()
        self._wanted = asyncio.Event()

    def add(self, ending: Ending) -> None:
        self._endings.append(ending)
        self._wanted.set()

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            while self._endings:
                try:
                    done = await self._go_on(self._endings[0])
                except Exception:
                    log.exception("messages of a session that has ended cannot be read")
                    done = False
                if done:
                    self._endings.popleft()
                else:
                    await asyncio.sleep(RETRY)
            self._wanted.clear()

    async def _go_on(self, ending: Ending) -> bool:
        """Hand on all that is left; False where the disk does not let us."""
        while ending.count > 0:
            rows = await self._rows(ending)
            if not rows:
                if not await self._commit():  # what came last may not be in the database yet
                    return False
                rows = await self._rows(ending)
            if not rows:
                log.error("%d messages for the client %s are not on disk", ending.count, ending.client_id)
                self._engine.counters.dropped["session_terminated"] += ending.count
                break
            for row in rows:
                self._hand_on(ending, self._messages(row))
            self._engine.flush()
            await asyncio.sleep(0)
        self._notes.session_ended(ending.number)
        self._engine.flush()
        return True

    def _rows(self, ending: Ending) -> Awaitable[Rows]:
        return self._read(ending.number, ending.after, AT_ONCE, AT_ONCE_BYTES)

    def _messages(self, row: tuple[EntryRow, MessageRow] | StretchRow) -> list[Outgoing]:
        if isinstance(row, StretchRow):
            return stretch_of(row).messages()
        entry, message = row
        return [outgoing(self._engine, entry, publish_of(message, self._notes.epoch))]

    def _hand_on(self, ending: Ending, messages: list[Outgoing]) -> None:
        ending.after = messages[-1].number
        ending.count -= len(messages)
        self._notes.done([message.number for message in messages])
        for message in messages:
            ending.left(message)
