"""Notes the changes of sessions: first in the journal, later in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..clock import Clock
from ..engine.bans import Ban
from ..packets.model import Publish
from ..routing.subscription import Subscription
from ..session.inflight import Outgoing
from ..session.keeper import Left
from ..session.session import Session
from ..session.stretch import Stretch
from . import records
from .changes import Changes
from .rows import (
    NEVER,
    RELEASED,
    SENT,
    WAITS,
    EntryRow,
    SessionRow,
    SubscriptionRow,
    ban_row,
    message_row,
    stretch_row,
)

SYS = "$SYS/"
"""Topics with values of this process. They are not kept."""


class Notes:
    """The changes since the last flush of the engine, and since the last commit."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.unwritten: list[bytes] = []
        """Records that are not in the journal yet."""
        self.changes = Changes()
        self.next_session = 1
        self.next_message = 1
        self.next_entry = 1
        self.fetch: Callable[[Session], None] = _cannot_fetch
        """Bring a session the messages that are only on disk."""
        self.drain: Callable[[Session, int, Left], None] = _cannot_drain
        """Pass on the messages that are only on disk for the session with this number, which has ended."""
        self._last: Publish | None = None
        """The message that was noted last. Most are noted for many receivers in a row."""
        self._last_number = 0

    @property
    def epoch(self) -> float:
        """The time of day minus the monotonic clock."""
        return self.clock.time() - self.clock.monotonic()

    def take_changes(self) -> Changes:
        """Take the changes for a commit. Later changes belong to the next commit."""
        changes, self.changes = self.changes, Changes()
        changes.settle()
        self._last = None
        return changes

    def message(self, publish: Publish) -> int:
        """Note a message, and return its number."""
        if publish is not self._last:
            row = message_row(publish, self.epoch)
            self._last, self._last_number = publish, self.next_message
            self.next_message += 1
            self.changes.messages[self._last_number] = row
            self.unwritten.append(records.message(self._last_number, row))
        return self._last_number

    def retained(self, topic: str, publish: Publish | None) -> None:
        """Note that a topic has another retained message, or none."""
        if topic.startswith(SYS):
            return
        row = None if publish is None else message_row(publish, self.epoch)
        self.changes.retained(topic, row)
        self.unwritten.append(records.unretained(topic) if row is None else records.retained(row))

    def session_ended(self, number: int) -> None:
        self.changes.session_ended(number)
        self.unwritten.append(records.ended(number))

    def done(self, numbers: list[int]) -> None:
        """Note that messages need not be kept any longer."""
        self.changes.done(numbers)
        first, count = numbers[0], len(numbers)
        if count > 1 and numbers == list(range(first, first + count)):
            self.unwritten.append(records.pack_done_all(records.IS_DONE_ALL, first, count))
        else:
            self.unwritten += [records.pack_number(records.IS_DONE, number) for number in numbers]

    def ban(self, kind: str, who: str, ban: Ban | None) -> None:
        """Note that a ban holds, or holds no longer."""
        row = None if ban is None else ban_row(ban)
        self.changes.ban(kind, who, row)
        self.unwritten.append(records.lifted(kind, who) if row is None else records.ban(row))


def _cannot_fetch(session: Session) -> None:
    """Used while the broker starts, and after it has stopped."""


def _cannot_drain(session: Session, number: int, left: Left) -> None:
    """The same."""


class KeptSession:
    """A session's Keeper."""

    __slots__ = ("_notes", "number")

    def __init__(self, notes: Notes, number: int) -> None:
        self._notes = notes
        self.number = number

    def changed(self, session: Session) -> None:
        epoch = self._notes.epoch
        timer, will_timer = session.expiry_timer, session.will_timer
        row = SessionRow(
            self.number,
            session.client,
            NEVER if session.expiry == float("inf") else session.expiry,
            session.superuser,
            session.connected,
            NEVER if timer is None else timer.when + epoch,
            session.will,
            NEVER if will_timer is None else will_timer.when + epoch,
        )
        self._note(row)

    def ended(self) -> None:
        self._notes.session_ended(self.number)

    def ended_behind(self, session: Session, left: Left) -> None:
        """Until then the session is on disk without subscriptions, and its end is due."""
        for topic_filter in session.subscriptions:
            self.unsubscribed(topic_filter)
        self.done(list(session.inflight.messages.values()))
        self.done([message for message in session.queue.messages() if message.qos] if session.queue else [])
        now = self._notes.clock.time()
        self._note(SessionRow(self.number, session.client, 0.0, session.superuser, False, now, None, NEVER))
        self._notes.drain(session, self.number, left)

    def subscribed(self, subscription: Subscription, *, owes: bool = False) -> None:
        told = options(subscription) | (OWES if owes else 0)
        row = SubscriptionRow(subscription.topic_filter, told, subscription.identifier)
        self._notes.changes.subscribed(self.number, row)
        self._notes.unwritten.append(records.subscribed(self.number, row))

    def unsubscribed(self, topic_filter: str) -> None:
        self._notes.changes.unsubscribed(self.number, topic_filter)
        self._notes.unwritten.append(records.unsubscribed(self.number, topic_filter))

    def queued(self, message: Outgoing) -> None:
        if not message.number:  # else it waited before, and still does
            self._enter(message, 0, WAITS)

    def queued_all(self, stretch: Stretch) -> None:
        self._enter_all(stretch, 0)

    def fetch(self, session: Session) -> None:
        self._notes.fetch(session)

    def sent(self, message: Outgoing, packet_id: int) -> None:
        number = message.number
        if number:
            self._notes.changes.sent(number, packet_id)
            self._notes.unwritten.append(records.pack_sent(records.IS_SENT, number, packet_id))
        else:
            self._enter(message, packet_id, SENT)

    def sent_all(self, stretch: Stretch, messages: list[Outgoing], packet_id: int) -> None:
        number, count = stretch.number, len(messages)
        if number:
            self._notes.changes.sent_all(number, count, packet_id)
            record = records.pack_sent_all(records.IS_SENT_ALL, number, count, packet_id)
            self._notes.unwritten.append(record)
        else:
            for number, message in enumerate(messages, self._enter_all(stretch, packet_id)):
                message.number = number

    def released(self, message: Outgoing) -> None:
        self._notes.changes.released(message.number)
        self._notes.unwritten.append(records.pack_number(records.IS_RELEASED, message.number))

    def done(self, messages: list[Outgoing]) -> None:
        numbers = [message.number for message in messages]
        if not numbers:
            return
        self._notes.done(numbers)
        for message in messages:
            message.number = 0

    def received(self, packet_id: int) -> None:
        self._notes.changes.received(self.number, packet_id)
        self._notes.unwritten.append(records.pack_packet(records.IS_RECEIVED, self.number, packet_id))

    def forgot(self, packet_id: int) -> None:
        self._notes.changes.forgotten(self.number, packet_id)
        self._notes.unwritten.append(records.pack_packet(records.IS_FORGOTTEN, self.number, packet_id))

    def everything(self, session: Session) -> None:
        """Note a session that was not kept until now, with all it has."""
        for _ in self.each_subscription(session):
            pass
        for message, number in self.each_message(session):
            message.number = number

    def each_subscription(self, session: Session, owed: Iterable[Subscription] = ()) -> Iterator[None]:
        """Note the session without its messages, a record a step. ``owed``: as for :meth:`subscribed`."""
        self.changed(session)
        for subscription in session.subscriptions.values():
            self.subscribed(subscription, owes=subscription in owed)
            yield

    def each_message(self, session: Session) -> Iterator[tuple[Outgoing, int]]:
        """Note the session, and its messages in both directions, one to the client a step: with the number
        under which it is noted."""
        self.changed(session)
        for packet_id in session.received:
            self.received(packet_id)
        for packet_id, message in session.inflight.messages.items():
            yield message, self._note_entry(message, packet_id, RELEASED if message.released else SENT)
        for message in session.queue.messages() if session.queue is not None else ():
            if message.qos:
                yield message, self._note_entry(message, 0, WAITS)

    def _note(self, row: SessionRow) -> None:
        self._notes.changes.session(row)
        self._notes.unwritten.append(records.session(row))

    def _enter_all(self, stretch: Stretch, packet_id: int) -> int:
        """Returns the number of the first."""
        notes = self._notes
        number = stretch.number = notes.next_entry
        notes.next_entry = number + len(stretch)
        row = stretch_row(stretch, self.number, packet_id)
        notes.changes.stretch(row)
        notes.unwritten.append(records.stretch(row))
        return number

    def _enter(self, message: Outgoing, packet_id: int, state: int) -> None:
        message.number = self._note_entry(message, packet_id, state)

    def _note_entry(self, message: Outgoing, packet_id: int, state: int) -> int:
        notes = self._notes
        number = notes.next_entry
        notes.next_entry = number + 1
        group = message.group
        row = EntryRow(
            number,
            self.number,
            notes.message(message.publish),
            message.qos | message.retain << 2,
            packet_id,
            state,
            ",".join(map(str, message.identifiers)) if message.identifiers else "",
            f"$share/{group.name}/{group.topic_filter}" if group is not None else "",
        )
        notes.changes.entries[number] = row
        notes.unwritten.append(records.entry(row))
        return number


OWES = 0x40
"""Beside the options: not all that is retained for the subscription has been sent."""


def options(subscription: Subscription) -> int:
    """As one byte, like that of SUBSCRIBE."""
    s = subscription
    return s.qos | s.no_local << 2 | s.retain_as_published << 3 | s.retain_handling << 4


def subscription_of(row: SubscriptionRow) -> Subscription:
    o = row.options
    return Subscription(row.topic_filter, o & 3, bool(o & 4), bool(o & 8), o >> 4 & 3, row.identifier)
