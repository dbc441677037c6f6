"""Loads the database into a new broker."""

from __future__ import annotations

import heapq
import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from sys import maxsize
from typing import TypeVar

from ..engine.disconnect import depart, happen_until, wait_for_end, wait_for_will
from ..engine.engine import Engine
from ..engine.retained import send_retained
from ..packets.model import Publish
from ..routing.subscription import Subscription
from ..session.inflight import Outgoing
from ..session.queue import OVERHEAD, MessageQueue, size_of
from ..session.registry import INSIDE
from ..session.session import Session
from .database import StateDatabase
from .keeper import OWES, KeptSession, Notes, subscription_of
from .rows import (
    NEVER,
    RELEASED,
    WAITS,
    EntryRow,
    MessageRow,
    SessionRow,
    StretchHead,
    ban_of,
    publish_of,
    stretch_of,
)

T = TypeVar("T")

log = logging.getLogger("pybroker.state")

FIRST_WORD, NEXT_WORD = 1.0, 5.0
"""Seconds of loading after which the progress is logged first, and then again."""


@dataclass(frozen=True, slots=True)
class Left:
    """A session whose client was away, or has been since the broker went down."""

    session: Session
    connected: bool
    left_at: float
    """If the client was connected: when the broker went down. All times here are of the monotonic clock."""
    will_at: float | None
    ends_at: float | None
    owed: Sequence[Subscription]
    """The subscriptions that have not got all their retained messages."""


def restore(
    engine: Engine, database: StateDatabase, notes: Notes, alive: float, *, retained: bool = True
) -> list[Left]:
    """Load the database into the engine, whose later changes are noted in ``notes``.

    ``alive``: when the broker went down, in seconds since the epoch; 0 if it never ran. ``retained``: whether
    to load retained messages too. Returns what :func:`set_off` needs. Raises sqlite3.Error.
    """
    progress = Progress(engine.clock.monotonic)
    epoch = notes.epoch
    sessions: dict[int, Session] = {}
    rows: list[SessionRow] = []
    owed: dict[Session, list[Subscription]] = {}
    for row in progress.of(database.sessions(), "sessions"):
        session = sessions[row.number] = session_of(row)
        session.keeper = KeptSession(notes, row.number)
        engine.sessions.add(session)
        rows.append(row)
    for number, subscription_row in progress.of(database.subscriptions(), "subscriptions"):
        if (owner := sessions.get(number)) is not None:
            subscription = subscription_of(subscription_row)
            owner.subscriptions[subscription.topic_filter] = subscription
            engine.router.subscribe(owner, subscription)
            if subscription_row.options & OWES:
                owed.setdefault(owner, []).append(subscription)
    for number, packet_id in database.packets():
        if (owner := sessions.get(number)) is not None:
            owner.receive(packet_id)
    _Messages(engine, database, sessions, epoch).restore(progress)
    now = engine.clock.time()
    for message_row in progress.of(database.retained(), "retained messages") if retained else ():
        if message_row.expires_at == NEVER or message_row.expires_at > now:
            engine.retained.set(message_row.topic, publish_of(message_row, epoch))
    for ban_row in database.bans():
        engine.bans.put(ban_of(ban_row))
    engine.bans.watchers = (notes.ban,)
    notes.next_session = database.highest("session") + 1
    notes.next_message = database.highest("message") + 1
    notes.next_entry = database.highest("entry") + 1
    if retained:
        engine.retained.watchers = (notes.retained,)
    progress.end()
    return [
        Left(
            sessions[row.number],
            row.connected,
            (alive or now) - epoch,
            None if row.will_at == NEVER else row.will_at - epoch,
            None if row.ends_at == NEVER else row.ends_at - epoch,
            owed.get(sessions[row.number], ()),
        )
        for row in rows
    ]


def set_off(engine: Engine, left: Iterable[Left]) -> None:
    """Publish the wills and end the sessions that were due while the broker was down. Others get a timer."""
    now = engine.clock.monotonic()
    for one in left:
        session = one.session
        if one.connected:
            depart(engine, session, one.left_at)
        else:
            if one.will_at is not None:
                wait_for_will(engine, session, one.will_at)
            if one.ends_at is not None:
                wait_for_end(engine, session, one.ends_at)
        happen_until(engine, session, now)
        for subscription in one.owed:
            send_retained(engine, session, subscription)
        if one.connected and session.keeper is not None:
            session.keeper.changed(session)


class Progress:
    """Logs now and then how much is loaded."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self._due = self._began + FIRST_WORD

    def of(self, rows: Iterable[T], what: str) -> Iterator[T]:
        for count, row in enumerate(rows, 1):
            yield row
            if not count & 0xFFF and self._monotonic() > self._due:
                self._due = self._monotonic() + NEXT_WORD
                log.info("reading the state: %d %s so far", count, what)

    def end(self) -> None:
        seconds = self._monotonic() - self._began
        if seconds > FIRST_WORD:
            log.info("the state was read in %.1f s", seconds)


def session_of(row: SessionRow) -> Session:
    session = Session(row.client)
    session.expiry = inf if row.expiry == NEVER else row.expiry
    session.superuser = row.superuser
    session.will = row.will
    return session


def outgoing(engine: Engine, entry: EntryRow, publish: Publish) -> Outgoing:
    """The message on its way again."""
    identifiers = tuple(map(int, entry.identifiers.split(","))) if entry.identifiers else ()
    group = engine.router.group(entry.share) if entry.share else None
    message = Outgoing(publish, entry.flags & 3, bool(entry.flags & 4), identifiers, group)
    message.number = entry.number
    message.released = entry.state == RELEASED
    return message


class _Messages:
    """Puts messages back, oldest first: in flight, or into a queue."""

    def __init__(self, engine: Engine, database: StateDatabase, sessions: dict[int, Session], epoch: float):
        self._engine = engine
        self._database = database
        self._sessions = sessions
        self._epoch = epoch
        self._last = 0
        """The number of the last message. Many sessions may wait for it."""
        self._publish: Publish | None = None

    def restore(self, progress: Progress) -> None:
        database = self._database
        flights = database.flights()
        entries: Iterator[tuple[EntryRow, MessageRow] | StretchHead] = iter(database.entries())
        items = heapq.merge(entries, database.stretches(), key=_number)
        for item in progress.of(items, "messages that wait"):
            if isinstance(item, StretchHead):
                first = bisect_left(flights, item.number)
                moved = first < len(flights) and flights[first] < item.number + item.length
                self._stretch(item, waits=not item.packet_id and not moved)
            else:
                self._entry(*item)

    def _stretch(self, head: StretchHead, *, waits: bool) -> None:
        session, count = self._sessions.get(head.session), head.length
        if session is None:
            return
        if waits and session.behind:
            self._queue(session).elsewhere += count  # it need not be read
            return
        row = self._database.stretch(head.number)
        stretch = stretch_of(row)
        if waits:
            queue = self._queue(session)
            if len(queue) + count <= queue.max_messages:
                session.behind = queue.is_beyond(size_of(stretch))
                if not queue.elsewhere and not queue.last:
                    queue.last = head.number - 1
                queue.elsewhere += count
                if not session.behind:
                    queue.bring_stretch(stretch)
                return
        for (message_number, packet_id, state, _), message in zip(
            self._database.each_of(row), stretch.messages(), strict=True
        ):
            message.number = message_number
            message.released = state == RELEASED
            self._place(session, message, packet_id, state)

    def _entry(self, entry: EntryRow, row: MessageRow) -> None:
        session = self._sessions.get(entry.session)
        if session is None:
            return
        if entry.state == WAITS and session.behind:
            self._queue(session).elsewhere += 1
            return
        if self._publish is None or entry.message != self._last:
            self._last, self._publish = entry.message, publish_of(row, self._epoch)
        self._place(session, outgoing(self._engine, entry, self._publish), entry.packet_id, entry.state)

    def _place(self, session: Session, message: Outgoing, packet_id: int, state: int) -> None:
        if state != WAITS:
            session.inflight.restore(packet_id, message)
            return
        queue = self._queue(session)
        if session.behind or queue.is_beyond(len(message.publish.wire) + OVERHEAD):
            if not queue.elsewhere and not queue.last:
                queue.last = message.number - 1
            queue.elsewhere += 1
            session.behind = True
            return
        queue.last = message.number
        for dropped in queue.add(message):
            assert session.keeper is not None
            session.keeper.done([dropped])
            self._engine.reports.dropped("queue_full", dropped.publish, session.client)

    def _queue(self, session: Session) -> MessageQueue:
        if session.queue is None:
            sender = self._engine.sender
            # A bridge has a bound of its own, which it sets when it starts.
            most = maxsize if session.client_id.startswith(INSIDE) else sender.max_messages
            session.queue = MessageQueue(most, sender.max_bytes, sender.window)
        return session.queue


def _number(item: tuple[EntryRow, MessageRow] | StretchHead) -> int:
    return item.number if isinstance(item, StretchHead) else item[0].number
