"""The disk spool of an endpoint: waiting events outlive the process.

An event is first copied to the journal (memory that the kernel keeps when the process is killed), then a
thread writes it to the database, at most COMMIT_INTERVAL later. Events that are delivered before that are
never written to the database. Memory holds the oldest waiting events; the others are read back when there is
room.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import TypeVar

from pybroker.broker.storage.journal import Journal

from ..backend import ANSWER_BYTES, Outcome
from ..clock import Clock, Timer
from ..complaints import Complaints
from ..metrics import Counters
from ..parcels import Delivery
from ..settings import WebhookSettings
from . import records
from .backlog import Announce, new_id_prefix
from .changes import Changes, Commit
from .files import SpoolError, SpoolFullError, database_path, reported
from .queue import Queue
from .store import DeadLetter, Store

T = TypeVar("T")

COMMIT_INTERVAL = 1.0
"""The most seconds until a commit begins, with ``fsync = interval``."""
RETRY_INTERVAL = 2.0
"""Seconds until a failed commit is tried again."""
TIDY_INTERVAL = 60.0
READ_AT_ONCE = 2000
READ_BYTES = 16 << 20


class SpoolBacklog:
    """A backlog on disk."""

    def __init__(
        self,
        settings: WebhookSettings,
        queue: Queue,
        counters: Counters,
        complaints: Complaints,
        clock: Clock,
        announce: Announce,
    ) -> None:
        assert settings.spool is not None
        self._settings = settings
        self._spool = settings.spool
        self._queue = queue
        self._counters = counters
        self._complaints = complaints
        self._clock = clock
        self._announce = announce
        self.id_prefix = new_id_prefix()
        self.next_seq = 1
        self.spooled_bytes = 0
        self.dead_letters = 0

        self._early: list[Delivery] | None = []
        """The events that came before the spool was open; None once it is."""
        self._early_bytes = 0
        self._has_files = False
        """Whether journal and database are open; set by the spool's thread."""
        self._changes = Changes()
        self._commit: Commit | None = None
        """The commit that is being written, or waits for the disk to have room again."""
        self._loaded = 0
        """The highest number that memory holds or has held."""
        self._behind = False
        """Whether more events wait on disk than memory holds; then new events go to the disk only."""
        self._wanted = asyncio.Event()
        """Wakes the writer, to read more events or, with ``_commit_due``, to commit."""
        self._commit_due = False
        self._timer: Timer | None = None
        self._tidy_due = False
        self._tidy_timer: Timer | None = None
        self._writer: asyncio.Task[None] | None = None

    # ---- open and close

    async def open(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"spool-{self._settings.name}")
        work = self._write
        try:
            self._begin(*await self._in_thread(self._open))
        except SpoolFullError as error:
            self._cannot_open(error)
            work = self._open_later
        except BaseException:
            self._thread.shutdown()
            raise
        self._writer = asyncio.get_running_loop().create_task(work(), name="webhook spool")

    async def _open_later(self) -> None:
        """The disk is full: new events wait in memory until there is room. Everything else goes on."""
        while self._early is not None:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                self._begin(*await self._in_thread(self._open))
            except SpoolError as error:
                self._cannot_open(error)
        await self._write()

    def _cannot_open(self, error: SpoolError) -> None:
        self._counters.spool_errors += 1
        self._complaints.warn(
            "spool", f"{error.text}; the write is tried again, and until then events wait in memory"
        )
        self._timer = self._clock.call_at(self._clock.monotonic() + RETRY_INTERVAL, self._on_timer)

    def _begin(self, count: int, first: list[Delivery], damaged: int) -> None:
        """Begin, with open files, in which ``count`` events of an earlier run wait; ``first`` is the first of
        them."""
        self._counters.matched += count
        self._counters.queued += count
        self._tell_damaged(damaged)
        self._behind = count > len(first)
        self._load(first)
        early, self._early = self._early or [], None
        self._early_bytes = 0
        for delivery in early:
            delivery.seq = self.next_seq
            self.next_seq += 1
            self._counters.queued -= 1
            self.add(delivery)
        self._plan_tidy()

    def _open(self) -> tuple[int, list[Delivery], int]:
        """Open the files. Blocking. Returns the number of waiting events, the first of them, and the number
        of damaged places in the journal."""
        directory, name = self._spool.path, self._settings.name
        path = database_path(directory, name)
        with reported(directory, name, self._settings.label):
            directory.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(path.with_suffix(".journal"))
            try:
                self._store = Store(path)
                try:
                    found = self._recover()
                    self._has_files = True
                    return found
                except BaseException:
                    self._store.close()
                    raise
            except BaseException:
                self._journal.close()
                raise

    def _recover(self) -> tuple[int, list[Delivery], int]:
        """Bring the journal of an earlier run into the database."""
        store, journal = self._store, self._journal
        committed = store.committed_generation()
        recovered = journal.recover(committed)
        puts, gone = records.read(recovered.records)
        last = max([store.last_seq(), *(put.seq for put in puts), *gone])
        generation = journal.generation
        if puts or gone:
            left = [put for put in puts if put.seq not in gone]
            store.commit(left, list(gone), [], generation, last, self._spool.max_size)
        journal.begin()
        self.next_seq = last + 1
        count, self.spooled_bytes = store.waiting()
        self.dead_letters, _ = store.dead()
        return count, store.read(0, READ_AT_ONCE, READ_BYTES), recovered.damaged

    def _tell_damaged(self, places: int) -> None:
        if places:
            self._counters.spool_damaged += places
            where = "1 place" if places == 1 else f"{places} places"
            self._complaints.warn(
                "damaged",
                f"the journal of the spool {self._spool.path} is damaged in {where}:"
                " those events are lost or sent again; the others are sent",
            )

    async def close(self) -> int:
        if self._writer is None:
            return len(self._early or ())
        self._stop_timer()
        if self._tidy_timer is not None:
            self._tidy_timer.cancel()
        self._writer.cancel()
        with suppress(asyncio.CancelledError):
            await self._writer
        self._writer = None
        if self._commit:
            await self._flush()
        if self._changes and not self._commit:
            await self._flush()
        self._stop_timer()
        await self._in_thread(self._close)
        self._thread.shutdown()
        return self._only_in_memory() + len(self._early or ())

    def _only_in_memory(self) -> int:
        """The number of waiting events that are neither in the journal nor committed."""
        commit = self._commit.unjournaled.difference(self._changes.gone) if self._commit else ()
        return len(commit) + len(self._changes.unjournaled)

    def _close(self) -> None:
        if self._has_files:
            self._store.close()
            self._journal.close()

    def serve(self, settings: WebhookSettings, queue: Queue, announce: Announce) -> None:
        assert settings.spool is not None
        if settings.spool.fsync != self._spool.fsync:
            # Some of what is not committed yet is in memory already, or waits for its commit: it goes by what
            # memory has had.
            self._behind = True
            self._wanted.set()
        self._settings, self._spool, self._queue, self._announce = settings, settings.spool, queue, announce

    # ---- in and out

    def has_room(self) -> bool:
        settings, counters = self._settings, self._counters
        only_in_memory = len(self._changes.unjournaled) + len(self._early or ())
        bytes_in_memory = self._changes.unjournaled_bytes + self._early_bytes
        if self._too_many(only_in_memory) or bytes_in_memory >= settings.queue_max_bytes:
            counters.dropped_full += 1
            why = "cannot be written as fast as events arrive" if self._early is None else "is not open"
            self._complaints.warn("full", f"the spool {why}: one is lost")
            return False
        while self.spooled_bytes >= self._spool.max_size:
            counters.dropped_full += 1
            oldest = self._queue.drop_oldest() if settings.overflow == "drop_oldest" else None
            lost = "a new event" if oldest is None else "the oldest event"
            self._complaints.warn("full", f"the spool is full ({counters.queued} events): {lost} is lost")
            if oldest is None:
                return False
            counters.queued -= 1
            counters.queued_bytes -= oldest.size
            self.delivered([oldest])
        return True

    def add(self, delivery: Delivery) -> None:
        self._counters.queued += 1
        if self._early is not None:
            self._early.append(delivery)
            self._early_bytes += delivery.size
            return
        self.spooled_bytes += delivery.size
        journaled = self._journal.write(records.put(delivery))
        self._changes.put(delivery, journaled)
        if self._spool.fsync == "always":
            self._want_commit(now=True)  # and only then is it sent
        else:
            self._release(delivery)
            self._want_commit(now=not journaled or self._journal.filled > 0.75)

    def delivered(self, items: Sequence[Delivery]) -> None:
        for item in items:
            self._journal.write(records.done(item))  # where it does not fit: sent again after a crash
        self._forget(items)
        self._want_commit(now=self._journal.filled > 0.75)

    def died(self, items: Sequence[Delivery], outcome: Outcome, expired: bool) -> None:
        # Not noted in the journal: until the dead letter is committed, a crash makes it wait again.
        now = self._clock.time()
        self._counters.dead += len(items)
        self._changes.dead.extend(
            DeadLetter(item, now, outcome.why, outcome.status, outcome.body[:ANSWER_BYTES]) for item in items
        )
        self._forget(items)
        self._want_commit()

    def _forget(self, items: Iterable[Delivery]) -> None:
        """Remove the events: they no longer wait."""
        for item in items:
            self.spooled_bytes -= item.size
            self._changes.forget(item)
        if self._behind and len(self._queue) < READ_AT_ONCE // 2:
            self._wanted.set()

    # ---- memory's part

    def _release(self, delivery: Delivery) -> None:
        """Move events to the queue, if memory has room and no older ones are still on disk."""
        if self._behind or self._memory_is_full():
            self._behind = True
        else:
            self._load([delivery])

    def _load(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._queue.put(delivery)
            self._counters.queued_bytes += delivery.size
            self._loaded = delivery.seq
        if deliveries:
            self._announce(len(deliveries))

    def _memory_is_full(self) -> bool:
        full = self._counters.queued_bytes >= self._settings.queue_max_bytes
        return full or self._too_many(len(self._queue))

    def _too_many(self, count: int) -> bool:
        return count >= self._settings.queue_max_events

    async def _read_on(self) -> None:
        """Read the next waiting events from the disk into memory."""
        while self._behind and len(self._queue) < READ_AT_ONCE // 2 and not self._memory_is_full():
            try:
                found = await self._in_thread(self._read_part)
            except sqlite3.Error as error:
                self._failed("cannot be read", error)
                return
            self._load(found)
            if not found:
                self._behind = self._uncommitted_remain()
                return  # what remains is read after the commit, or when memory has room

    def _read_part(self) -> list[Delivery]:
        return self._store.read(self._loaded, min(READ_AT_ONCE, self._settings.queue_max_events), READ_BYTES)

    def _uncommitted_remain(self) -> bool:
        """Called when the disk is read to its end and newer events are only in memory. Returns whether some
        of them have to wait."""
        newer = [delivery for delivery in self._uncommitted() if delivery.seq > self._loaded]
        if self._spool.fsync == "always":
            return bool(newer)  # the commit releases them
        for delivery in newer:
            if self._memory_is_full():
                return True
            self._load([delivery])
        return False

    @property
    def oldest_held(self) -> Delivery | None:
        """The oldest event in memory that is not in the queue. Events that are only on disk are younger than
        those in the queue."""
        return next((one for one in (self._early or self._uncommitted()) if one.seq > self._loaded), None)

    def _uncommitted(self) -> Iterator[Delivery]:
        """The events that are not committed yet, oldest first."""
        return chain(self._commit.puts if self._commit else (), self._changes.puts.values())

    # ---- the writer

    def _want_commit(self, now: bool = False) -> None:
        if now and self._commit is None:
            self._commit_due = True
            self._wanted.set()
        elif self._timer is None:
            self._timer = self._clock.call_at(self._clock.monotonic() + COMMIT_INTERVAL, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._commit_due = True
        self._wanted.set()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _write(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self._commit_due:
                self._commit_due = False
                await self._flush()
            await self._read_on()
            if self._tidy_due:
                await self._tidy()
                self._plan_tidy()

    async def _flush(self) -> None:
        """Commit the changes. After a failure, the same changes are committed before newer ones."""
        if not self._changes:
            self._journal.restart()  # all its events have been delivered
        if self._commit is None:
            if not self._changes:
                return
            changes, self._changes = self._changes, Changes()
            self._commit = Commit(changes, self._journal.switch())
        commit = self._commit
        last_seq, dead_bytes = self.next_seq - 1, self._room_for_dead
        try:
            evicted = await self._in_thread(
                lambda: self._store.commit(
                    commit.puts, commit.gone, commit.dead, commit.generation, last_seq, dead_bytes
                )
            )
        except sqlite3.Error as error:
            self._failed("cannot be written", error)
            return
        self._commit = None
        self._journal.clear_inactive()
        self.dead_letters += len(commit.dead) - evicted
        self._tell_evicted(evicted)
        if self._spool.fsync == "always":
            for delivery in commit.puts:
                if delivery.seq > self._loaded:  # otherwise it was sent before fsync was changed
                    self._release(delivery)
        if self._changes:
            self._want_commit(now=self._spool.fsync == "always" or self._journal.filled > 0.75)

    def _failed(self, what: str, error: sqlite3.Error) -> None:
        self._counters.spool_errors += 1
        self._complaints.warn("spool", f"the spool {self._spool.path} {what}: {error}; it is tried again")
        self._stop_timer()
        self._timer = self._clock.call_at(self._clock.monotonic() + RETRY_INTERVAL, self._on_timer)

    @property
    def _room_for_dead(self) -> int:
        return max(0, self._spool.max_size - self.spooled_bytes)

    def _tell_evicted(self, count: int) -> None:
        if count:
            self._complaints.warn(
                "evicted", f"the spool is full: the {count} oldest dead letters are deleted"
            )

    def _plan_tidy(self) -> None:
        self._tidy_due = False
        self._tidy_timer = self._clock.call_at(self._clock.monotonic() + TIDY_INTERVAL, self._on_tidy_timer)

    def _on_tidy_timer(self) -> None:
        self._tidy_due = True
        self._wanted.set()

    async def _tidy(self) -> None:
        """Called now and then: delete dead letters older than ``max_age``, or the oldest if events need the
        room, and return free space to the disk."""
        too_old = self._clock.time() - self._spool.max_age
        while (oldest := self._queue.oldest) is not None and oldest.at < too_old:
            self._queue.drop_oldest()
            self._counters.queued -= 1
            self._counters.queued_bytes -= oldest.size
            self.died([oldest], Outcome.dead("waited longer than max_age"), expired=True)
        room = self._room_for_dead
        try:
            evicted, self.dead_letters = await self._in_thread(lambda: self._tidied(too_old, room))
            self._tell_evicted(evicted)
        except sqlite3.Error as error:
            self._failed("cannot be tidied", error)

    def _tidied(self, died_before: float, max_dead_bytes: int) -> tuple[int, int]:
        evicted = self._store.tidy(died_before, max_dead_bytes)
        return evicted, self._store.dead()[0]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
