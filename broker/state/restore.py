"""From the database into a broker that has just been made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from ..engine.disconnect import depart, happen_until, wait_for_end, wait_for_will
from ..engine.engine import Engine
from ..packets.model import Publish
from ..session.inflight import Outgoing
from ..session.queue import MessageQueue
from ..session.session import Session
from .database import StateDatabase
from .keeper import KeptSession, Notes, subscription_of
from .rows import NEVER, RELEASED, WAITS, EntryRow, MessageRow, SessionRow, publish_of

T = TypeVar("T")

log = logging.getLogger("pybroker.state")

FIRST_WORD, NEXT_WORD = 1.0, 5.0
"""Seconds of loading after which it is said how far it is, and then again."""


@dataclass(frozen=True, slots=True)
class Left:
    """A session whose client was away, or has been since the broker went down."""

    session: Session
    connected: bool
    left_at: float
    """Where it was connected: when the broker went down. This and the others by the monotonic clock."""
    will_at: float | None
    ends_at: float | None


def restore(
    engine: Engine, database: StateDatabase, notes: Notes, alive: float, *, retained: bool = True
) -> list[Left]:
    """Put what the database has into the engine, and have it told to ``notes`` what changes from now on.

    ``alive``: when the broker went down, in seconds since the epoch; 0 where it never ran. Returns what
    :func:`set_off` needs. ``retained``: retained messages too. Raises sqlite3.Error.
    """
    progress = Progress(engine.clock.monotonic)
    epoch = notes.epoch
    sessions: dict[int, Session] = {}
    rows: list[SessionRow] = []
    for row in progress.of(database.sessions(), "sessions"):
        session = sessions[row.number] = _session(row, notes)
        engine.sessions.add(session)
        rows.append(row)
    for number, subscription_row in progress.of(database.subscriptions(), "subscriptions"):
        if (owner := sessions.get(number)) is not None:
            subscription = subscription_of(subscription_row)
            owner.subscriptions[subscription.topic_filter] = subscription
            engine.router.subscribe(owner, subscription)
    for number, packet_id in database.packets():
        if (owner := sessions.get(number)) is not None:
            owner.received.add(packet_id)
    _restore_messages(engine, progress.of(database.entries(), "messages that wait"), sessions, epoch)
    now = engine.clock.time()
    for message_row in progress.of(database.retained(), "retained messages") if retained else ():
        if message_row.expires_at == NEVER or message_row.expires_at > now:
            engine.retained.set(message_row.topic, publish_of(message_row, epoch))
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
        )
        for row in rows
    ]


def set_off(engine: Engine, left: Iterable[Left]) -> None:
    """Publish the wills, and end the sessions, that were due while the broker was down; others wait."""
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
        if one.connected and session.keeper is not None:
            session.keeper.changed(session)


class Progress:
    """Says now and then how much is loaded."""

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


def _session(row: SessionRow, notes: Notes) -> Session:
    session = Session(row.client)
    session.expiry = inf if row.expiry == NEVER else row.expiry
    session.superuser = row.superuser
    session.will = row.will
    session.keeper = KeptSession(notes, row.number)
    return session


def outgoing(engine: Engine, entry: EntryRow, publish: Publish) -> Outgoing:
    """The message on its way again."""
    identifiers = tuple(map(int, entry.identifiers.split(","))) if entry.identifiers else ()
    group = engine.router.group(entry.share) if entry.share else None
    message = Outgoing(publish, entry.flags & 3, bool(entry.flags & 4), identifiers, group)
    message.number = entry.number
    message.released = entry.state == RELEASED
    return message


def _restore_messages(
    engine: Engine,
    entries: Iterable[tuple[EntryRow, MessageRow]],
    sessions: dict[int, Session],
    epoch: float,
) -> None:
    sender = engine.sender
    last, publish = 0, None
    for entry, row in entries:
        session = sessions.get(entry.session)
        if session is None:
            continue
        if session.behind and entry.state == WAITS:
            assert session.queue is not None
            session.queue.elsewhere += 1
            continue
        if publish is None or entry.message != last:
            last, publish = entry.message, publish_of(row, epoch)
        message = outgoing(engine, entry, publish)
        if entry.state != WAITS:
            session.inflight.restore(entry.packet_id, message)
            continue
        queue = session.queue
        if queue is None:
            queue = session.queue = MessageQueue(sender.max_messages, sender.max_bytes, sender.window)
        if queue.is_beyond(message):
            queue.elsewhere += 1
            session.behind = True
            continue
        queue.last = entry.number
        for dropped in queue.add(message):
            assert session.keeper is not None
            session.keeper.done(dropped)
            engine.reports.dropped("queue_full", dropped.publish, session.client)
