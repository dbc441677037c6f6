"""The engine's Storage: when what was noted is safe, and when packets that follow from it are written.

The journal is memory that the kernel keeps when the process is killed. With ``sync = interval`` that is
enough for an answer to leave; the database follows. With ``always`` packets are held until the journal is on
the disk: one fdatasync for all that came while the last was under way. What does not fit into the journal
waits for the database.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..clock import Timer
from ..config.settings import SqliteSettings
from ..delivery.outbox import Held, HoldingPending
from ..engine.engine import Engine
from ..session.keeper import Left
from ..session.session import Session
from . import records
from .changes import Changes
from .endings import Ending, Endings, Rows
from .files import Opened, advice_for
from .keeper import KeptSession, Notes
from .restore import outgoing
from .rows import StretchRow, publish_of, stretch_of

T = TypeVar("T")

log = logging.getLogger("pybroker.state")

FULL_ENOUGH = 0.5
"""A commit begins early when this part of the journal's half is used."""
RETRY = 2.0
"""Seconds until a failed commit is tried again."""
MOST_AT_ONCE = 4000
"""The most messages that are read from the disk at once: about 10 ms of work."""
LONG = 0.25
"""After packets have been held back for so many seconds, nothing more is read from the clients."""
ROOM_AGAIN = 0.95
"""When the database has shrunk to this part of its largest size, messages are accepted again."""


class DiskStorage:
    """An engine's state on disk, from :meth:`start` on."""

    def __init__(self, engine: Engine, opened: Opened, notes: Notes, settings: SqliteSettings) -> None:
        assert isinstance(engine.pending, HoldingPending)
        self.full = False
        self.commits = 0
        self.errors = 0
        self._engine = engine
        self._pending = engine.pending
        self._clock = engine.clock
        self._opened = opened
        self._journal = opened.journal
        self._database = opened.database
        self._notes = notes
        self._always = settings.sync == "always"
        self._interval = settings.interval
        self._max_size = settings.max_size

        self._committing: tuple[Changes, int] | None = None
        """The changes that are being committed, or whose commit failed; and the generation of the journal
        that has them."""
        self._one_commit = asyncio.Lock()
        self._commit_due = asyncio.Event()
        self._timer: Timer | None = None

        self._unsynced = False
        """Whether the journal has something that may not be on the disk."""
        self._unjournaled = False
        """Whether something is noted that did not fit into the journal."""
        self._held_back = asyncio.Event()
        """Set when there is something to make safe."""
        self._settled = asyncio.Event()
        """Set while nothing is held back."""
        self._settled.set()
        self._paused = False
        self._fetching: dict[Session, None] = {}
        """The sessions that want messages which are only on disk."""
        self._fetch_wanted = asyncio.Event()
        self._endings = Endings(engine, notes, self._waiting, self._commit_everything)
        self._commit_thread = ThreadPoolExecutor(1, thread_name_prefix="state-commit")
        self._sync_thread = ThreadPoolExecutor(1, thread_name_prefix="state-sync")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._engine.storage = self
        self._pending.keep = self._keep
        self._notes.fetch = self._fetch
        self._notes.drain = self._drain
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._commit_when_due(), name="state: commit"),
            loop.create_task(self._release_when_safe(), name="state: release"),
            loop.create_task(self._fetch_when_wanted(), name="state: fetch"),
            loop.create_task(self._endings.run(), name="state: endings"),
        ]

    async def settle(self) -> None:
        """Return when nothing is held back."""
        await self._settled.wait()

    async def close(self) -> None:
        """Commit everything. Raises sqlite3.Error."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        self._keep()
        self._pending.keep = self._closed
        changes, generation, now = self._notes.take_changes(), self._journal.generation, self._clock.time()
        older = self._committing

        def commit() -> None:
            if older is not None:
                self._database.commit(*older, now)
            self._database.commit(changes, generation, now)
            self._database.give_back()

        try:
            await self._in(self._commit_thread, commit)
        finally:
            self._commit_thread.shutdown()
            self._sync_thread.shutdown()
            self._opened.close()

    def bound(self, session: Session) -> None:
        keeper = session.keeper
        if keeper is not None:
            keeper.changed(session)
        elif session.expiry:
            session.keeper = keeper = KeptSession(self._notes, self._notes.next_session)
            self._notes.next_session += 1
            keeper.everything(session)

    # ---- before packets are written

    def _keep(self) -> bool:
        """Write the notes to the journal. False if packets have to be held back."""
        notes = self._notes
        if notes.unwritten:
            record = records.record(self._clock.time(), notes.unwritten)
            notes.unwritten = []
            if self._journal.write(record):
                self._unsynced = True
            elif not self.full:  # else it is known already that not everything can be safe
                self._unjournaled = True
            if self._unjournaled or self._journal.filled > FULL_ENOUGH:
                self._commit_soon()
            else:
                self._commit_later()
            if self._unjournaled or self._always:
                self._settled.clear()
                self._held_back.set()
        return self._settled.is_set()

    def _closed(self) -> bool:
        """The broker has stopped. Whatever its timers still cause happens at the next start."""
        self._notes.unwritten.clear()
        return True

    async def _release_when_safe(self) -> None:
        while True:
            await self._held_back.wait()
            self._held_back.clear()
            held = self._pending.take()
            overdue = self._clock.call_at(self._clock.monotonic() + LONG, self._pause)
            try:
                safe = await self._make_safe()
            except Exception:
                log.exception("the state cannot be synced to disk")
                safe = False
            overdue.cancel()
            self._release(held, safe)

    async def _make_safe(self) -> bool:
        unjournaled, self._unjournaled = self._unjournaled, False
        if unjournaled:
            return await self._commit_everything()
        if self._unsynced and self._always:
            self._unsynced = False
            await self._in(self._sync_thread, self._journal.sync)
        return True

    def _release(self, held: Held, safe: bool) -> None:
        engine, pending = self._engine, self._pending
        if safe:
            engine.counters.packets_sent += pending.write(held)
            engine.counters.bytes_sent = pending.bytes
        else:
            self._cut_off(held)
        if pending.waits:
            self._held_back.set()  # what came meanwhile is the next to be made safe
        elif not self._held_back.is_set():
            self._settled.set()
        if self._paused:
            self._paused = False
            for channel in list(engine.channels):
                channel.read_on()

    def _cut_off(self, held: Held) -> None:
        """Close the connections of these packets. Their contents cannot be made safe, so the clients have to
        send again."""
        outboxes = {id(outbox) for outbox, _ in held.packets}
        for channel in list(self._engine.channels):
            if id(channel.outbox) in outboxes:
                channel.link.abort()
        self._pending.forget(held)

    def _pause(self) -> None:
        """Stop reading from the clients: the disk is slow, and packets must not pile up."""
        self._paused = True
        for channel in self._engine.channels:
            channel.link.pause_reading()

    # ---- commits

    def _commit_soon(self) -> None:
        if self._committing is None:
            self._commit_due.set()

    def _commit_later(self, seconds: float | None = None) -> None:
        if self._timer is None:
            due = self._clock.monotonic() + (self._interval if seconds is None else seconds)
            self._timer = self._clock.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._commit_due.set()

    async def _commit_when_due(self) -> None:
        while True:
            await self._commit_due.wait()
            self._commit_due.clear()
            async with self._one_commit:
                try:
                    await self._commit()
                except Exception:
                    log.exception("the state cannot be written")
                    self._commit_later(RETRY)

    async def _commit_everything(self) -> bool:
        """Commit everything that is noted. Returns whether it has succeeded."""
        async with self._one_commit:
            older = self._committing is not None
            return await self._commit() and (not older or await self._commit())

    async def _commit(self) -> bool:
        """Commit the changes. After a failure, the same changes are committed before newer ones. Returns
        whether it has succeeded."""
        notes = self._notes
        self._keep()
        if self._committing is None:
            changes = notes.take_changes()
            if not changes:
                self._journal.restart()  # none of its contents is needed any more
                return True
            self._committing = changes, self._journal.switch()
        changes, generation = self._committing
        at = self._clock.time()
        try:
            size = await self._in(self._commit_thread, lambda: self._commit_now(changes, generation, at))
        except sqlite3.Error as error:
            self.errors += 1
            self._be_full(f"{error}; {advice_for(error)}")
            self._commit_later(RETRY)
            return False
        self._committing = None
        self._journal.clear_inactive()
        self.commits += 1
        was_full = self.full
        if self._max_size and size > self._max_size * (ROOM_AGAIN if was_full else 1):
            self._be_full(f"it has {size} bytes, and sqlite.max_size is {self._max_size}")
        else:
            self._be_full("")
        if notes.changes:
            if was_full or self._journal.filled > FULL_ENOUGH:
                self._commit_soon()
            else:
                self._commit_later()
        return True

    # ---- messages that are on disk alone

    def _fetch(self, session: Session) -> None:
        self._fetching[session] = None
        self._fetch_wanted.set()

    async def _fetch_when_wanted(self) -> None:
        while True:
            await self._fetch_wanted.wait()
            self._fetch_wanted.clear()
            sessions, self._fetching = list(self._fetching), {}
            try:
                behind = [session for session in sessions if not await self._bring(session)]
                # What came last may not be in the database yet.
                safe = not behind or await self._commit_everything()
                for session in behind if safe else ():
                    await self._bring(session, last_try=True)
            except Exception:
                log.exception("messages that wait on disk cannot be read")
                safe, behind = False, sessions
            if not safe:
                self._fetching.update(dict.fromkeys(behind))
                self._clock.call_at(self._clock.monotonic() + RETRY, self._fetch_wanted.set)

    async def _bring(self, session: Session, *, last_try: bool = False) -> bool:
        """Bring a session its next messages from the database. Returns whether there were any, or none are
        wanted. ``last_try``: everything noted has been committed."""
        queue, keeper = session.queue, session.keeper
        if queue is None or not isinstance(keeper, KeptSession) or not queue.elsewhere:
            return True
        number, after = keeper.number, queue.last
        commits, pending = self.commits, bool(self._notes.changes)
        sent_at_once = session.window - len(session.inflight.messages) if session.connected else 0
        limit = min(MOST_AT_ONCE, max(1, queue.window + sent_at_once))
        room = max(1, queue.max_bytes - session.inflight.bytes)
        rows = await self._waiting(number, after, limit, room)
        if session.queue is not queue or session.keeper is not keeper or queue.last != after:
            return True  # the session has ended meanwhile
        if not rows and not last_try:
            return False
        pending |= commits != self.commits or self._committing is not None
        pending |= bool(self._notes.changes)
        for row in rows:
            if isinstance(row, StretchRow):
                queue.bring_stretch(stretch_of(row))
            else:
                entry, message = row
                queue.bring(outgoing(self._engine, entry, publish_of(message, self._notes.epoch)))
        if not rows and not pending:
            log.error(
                "%d messages that wait for the client %s are not on disk", queue.elsewhere, session.client_id
            )
            self._engine.counters.dropped["session_terminated"] += queue.elsewhere
            queue.elsewhere = 0
        session.behind = queue.elsewhere > 0
        self._engine.sender.pump(session)
        self._engine.flush()
        return True

    async def _waiting(self, number: int, after: int, limit: int, room: int) -> Rows:
        return await self._in(self._commit_thread, lambda: self._database.waiting(number, after, limit, room))

    def _drain(self, session: Session, number: int, left: Left) -> None:
        queue = session.queue
        assert queue is not None
        self._endings.add(Ending(number, session.client_id, queue.last, queue.elsewhere, left))

    def _commit_now(self, changes: Changes, generation: int, at: float) -> int:
        self._database.commit(changes, generation, at)
        self._database.give_back()
        return self._database.size()

    def _be_full(self, why: str) -> None:
        """Set the reason why nothing more can be kept; empty: it can."""
        if bool(why) == self.full:
            return
        self.full = bool(why)
        self._engine.restrict()
        if why:
            log.error(
                "the state on disk is full: %s. Until it has room, messages of QoS 1 and 2 that would"
                " have to be kept are not acknowledged, or refused with 0x97",
                why,
            )
        else:
            log.warning("the state on disk has room again; all messages are accepted")

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
