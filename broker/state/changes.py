"""The changes that a commit has to write: those since the last commit, without the ones that became void."""

from __future__ import annotations

from collections.abc import Iterable

from ..storage.database import runs
from .rows import RELEASED, SENT, BanRow, EntryRow, MessageRow, SessionRow, StretchRow, SubscriptionRow

FORGOTTEN, NEW, AGAIN = range(3)
"""NEW: it was unknown before these changes."""


class Changes:
    """Later changes win over earlier ones. A message that was acknowledged before the commit never gets into
    the database."""

    __slots__ = (
        "bans",
        "ended",
        "entries",
        "gone",
        "messages",
        "moved",
        "packets",
        "retained_rows",
        "sessions",
        "stretches",
        "subscriptions",
    )

    def __init__(self) -> None:
        self.sessions: dict[int, SessionRow] = {}
        self.ended: set[int] = set()
        """Numbers of sessions; one is never used again."""
        self.subscriptions: dict[tuple[int, str], SubscriptionRow | None] = {}
        self.messages: dict[int, MessageRow] = {}
        self.entries: dict[int, EntryRow] = {}
        self.stretches: list[StretchRow] = []
        self.moved: dict[int, tuple[int, int]] = {}
        """Packet identifier and state of messages of stretches, and of entries that are in the database;
        identifier 0: as it is there."""
        self.gone: set[int] = set()
        """Messages of stretches, and entries in the database, that are done."""
        self.packets: dict[tuple[int, int], int] = {}
        """(session, packet identifier) of messages received and not released, or FORGOTTEN."""
        self.bans: dict[tuple[str, str], BanRow | None] = {}
        """None: it holds no longer."""
        self.retained_rows: dict[str, MessageRow | None] = {}

    def __bool__(self) -> bool:
        """False where there is nothing to write."""
        return bool(
            self.entries
            or self.stretches
            or self.gone
            or self.moved
            or self.sessions
            or self.ended
            or self.subscriptions
            or self.packets
            or self.retained_rows
            or self.bans
        )

    def session(self, row: SessionRow) -> None:
        self.sessions[row.number] = row

    def session_ended(self, number: int) -> None:
        self.sessions.pop(number, None)
        self.ended.add(number)

    def subscribed(self, session: int, row: SubscriptionRow) -> None:
        self.subscriptions[session, row.topic_filter] = row

    def unsubscribed(self, session: int, topic_filter: str) -> None:
        self.subscriptions[session, topic_filter] = None

    def message(self, number: int, row: MessageRow) -> None:
        self.messages[number] = row

    def entry(self, row: EntryRow) -> None:
        self.entries[row[0]] = row

    def sent(self, number: int, packet_id: int) -> None:
        self._move(number, packet_id, SENT)

    def released(self, number: int) -> None:
        self._move(number, 0, RELEASED)

    def stretch(self, row: StretchRow) -> None:
        self.stretches.append(row)

    def sent_all(self, number: int, count: int, packet_id: int) -> None:
        """Messages of a stretch."""
        for place in range(count):
            self.moved[number + place] = (packet_id + place, SENT)

    def done(self, numbers: Iterable[int]) -> None:
        entries, gone, moved = self.entries, self.gone, self.moved
        if not entries and not moved:
            gone.update(numbers)
            return
        for number in numbers:
            if entries.pop(number, None) is None:
                gone.add(number)
                moved.pop(number, None)

    def settle(self) -> None:
        """Take stretches apart of which messages are done already: those need not be written."""
        gone, stretches = self.gone, self.stretches
        if not gone or not stretches:
            return
        self.stretches = []
        for row in stretches:
            numbers = range(row.number, row.last + 1)
            if gone.isdisjoint(numbers):
                self.stretches.append(row)
                continue
            left = [number for number in numbers if number not in gone]
            gone.difference_update(numbers)
            self.stretches += [row.cut(first, last) for first, last in runs(left)]

    def received(self, session: int, packet_id: int) -> None:
        key = session, packet_id
        self.packets[key] = AGAIN if key in self.packets else NEW

    def forgotten(self, session: int, packet_id: int) -> None:
        key = session, packet_id
        if self.packets.get(key) == NEW:
            del self.packets[key]
        else:
            self.packets[key] = FORGOTTEN

    def retained(self, topic: str, row: MessageRow | None) -> None:
        self.retained_rows[topic] = row

    def ban(self, kind: str, who: str, row: BanRow | None) -> None:
        self.bans[kind, who] = row

    def _move(self, number: int, packet_id: int, state: int) -> None:
        entry = self.entries.get(number)
        if entry is not None:
            self.entries[number] = entry._replace(packet_id=packet_id or entry.packet_id, state=state)
        elif number not in self.gone:
            before = self.moved.get(number, (0, 0))
            self.moved[number] = (packet_id or before[0], state)
