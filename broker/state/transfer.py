"""One session as records in pieces, for another node of the broker: the same records as in the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..clock import Clock
from ..engine.engine import Engine
from ..engine.retained import RetainedSending
from ..session.inflight import Outgoing
from ..session.queue import MessageQueue
from ..session.session import Session
from . import records
from .changes import Changes
from .keeper import OWES, KeptSession, Notes, subscription_of
from .restore import Left, outgoing, session_of, set_off
from .rows import NEVER, WAITS, publish_of

PIECE = 64 << 10
"""Bytes after which the next piece begins. One message is never divided."""


def without_messages(session: Session, clock: Clock) -> Iterator[bytes]:
    """The session and its subscriptions."""
    owed = session.source.owed() if isinstance(session.source, RetainedSending) else ()
    notes = Notes(clock)
    return _pieces(notes, KeptSession(notes, 1).each_subscription(session, owed))


def messages_of(session: Session, clock: Clock) -> Iterator[bytes]:
    """The session again, and its messages in both directions."""
    notes = Notes(clock)
    return _pieces(notes, KeptSession(notes, 1).each_message(session))


def _pieces(notes: Notes, steps: Iterable[object]) -> Iterator[bytes]:
    """At least one."""
    size = noted = 0
    for _ in steps:
        size += sum(map(len, notes.unwritten[noted:]))
        noted = len(notes.unwritten)
        if size >= PIECE:
            yield _piece(notes)
            size = noted = 0
    yield _piece(notes)


def _piece(notes: Notes) -> bytes:
    unwritten, notes.unwritten = notes.unwritten, []
    notes.take_changes()
    return records.record(notes.clock.time(), unwritten)


class ArrivingSession:
    """Reads the pieces. Times count from when a piece came, so that clocks of nodes may differ."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changes = Changes()
        self._epoch = 0.0

    def read(self, piece: bytes) -> None:
        """Raises ValueError where it is no piece."""
        self._epoch = records.read(piece, self._changes) - self._clock.monotonic()

    def session(self) -> Session:
        """Without its messages, and in no router yet. Raises ValueError where it has not come."""
        for row in self._changes.sessions.values():
            session = session_of(row)
            for subscription_row in self._changes.subscriptions.values():
                assert subscription_row is not None
                subscription = subscription_of(subscription_row)
                session.subscriptions[subscription.topic_filter] = subscription
            return session
        raise ValueError("a session came without its facts")

    def place_messages(self, engine: Engine, session: Session) -> Iterator[None]:
        """Put the messages into the session, one a step. What has come meanwhile waits behind them."""
        changes = self._changes
        sender = engine.sender
        queue = MessageQueue(sender.max_messages, sender.max_bytes, sender.window)
        session.received.update(packet_id for _, packet_id in changes.packets)
        for number in sorted(changes.entries):
            entry = changes.entries[number]
            message = outgoing(engine, entry, publish_of(changes.messages[entry.message], self._epoch))
            message.number = 0
            if entry.state == WAITS:
                _add(engine, session, queue, message)
            else:
                session.inflight.restore(entry.packet_id, message)
            yield
        while session.queue is not None and (later := session.queue.next_acknowledged()) is not None:
            _add(engine, session, queue, later)
            yield
        session.queue = queue if len(queue) else None

    def set_off(self, engine: Engine, session: Session) -> None:
        """Start the timers that the session had, and send what is retained for it."""
        [row] = self._changes.sessions.values()
        subscriptions = [row for row in self._changes.subscriptions.values() if row is not None]
        owed = [session.subscriptions[row.topic_filter] for row in subscriptions if row.options & OWES]
        will_at = None if row.will_at == NEVER else row.will_at - self._epoch
        ends_at = None if row.ends_at == NEVER else row.ends_at - self._epoch
        set_off(engine, [Left(session, False, 0.0, will_at, ends_at, owed)])


def _add(engine: Engine, session: Session, queue: MessageQueue, message: Outgoing) -> None:
    for dropped in queue.add(message):
        engine.reports.dropped("queue_full", dropped.publish, session.client)
