"""The database of sessions and retained messages."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path

from ..storage.database import Database, runs
from .changes import FORGOTTEN, Changes
from .rows import (
    SENT,
    WAITS,
    BanRow,
    EntryRow,
    MessageRow,
    SessionRow,
    StretchHead,
    StretchRow,
    SubscriptionRow,
    session_row,
    write_will,
)

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE session (number INTEGER PRIMARY KEY, facts TEXT NOT NULL, will BLOB NOT NULL);
    CREATE TABLE subscription (
        session INTEGER NOT NULL, topic_filter TEXT NOT NULL, options INTEGER NOT NULL,
        identifier INTEGER NOT NULL, PRIMARY KEY (session, topic_filter)) WITHOUT ROWID;
    CREATE TABLE message (
        number INTEGER PRIMARY KEY, topic TEXT NOT NULL, flags INTEGER NOT NULL, payload_at INTEGER NOT NULL,
        expires_at REAL NOT NULL, client TEXT, username TEXT, wire BLOB NOT NULL);
    CREATE TABLE entry (
        number INTEGER PRIMARY KEY, session INTEGER NOT NULL, message INTEGER NOT NULL,
        flags INTEGER NOT NULL, packet_id INTEGER NOT NULL, state INTEGER NOT NULL,
        identifiers TEXT NOT NULL, share TEXT NOT NULL);
    CREATE INDEX entry_session ON entry (session);
    CREATE INDEX entry_message ON entry (message);
    CREATE TABLE packet (
        session INTEGER NOT NULL, packet_id INTEGER NOT NULL, PRIMARY KEY (session, packet_id)) WITHOUT ROWID;
    CREATE TABLE retained (
        topic TEXT PRIMARY KEY, flags INTEGER NOT NULL, payload_at INTEGER NOT NULL,
        expires_at REAL NOT NULL, client TEXT, username TEXT, wire BLOB NOT NULL)
    """,
    """
    CREATE TABLE stretch (
        number INTEGER PRIMARY KEY, session INTEGER NOT NULL, length INTEGER NOT NULL,
        packet_id INTEGER NOT NULL, flags INTEGER NOT NULL, payload_at INTEGER NOT NULL,
        topic TEXT NOT NULL, client TEXT, username TEXT,
        ends BLOB NOT NULL, wire BLOB NOT NULL);
    CREATE INDEX stretch_session ON stretch (session);
    CREATE TABLE flight (number INTEGER PRIMARY KEY, packet_id INTEGER NOT NULL, state INTEGER NOT NULL)
    """,
    """
    CREATE TABLE ban (kind TEXT NOT NULL, who TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (kind, who))
    """,
)
"""What makes each version of the schema out of the one before."""
AT_ONCE = 1000


class StateDatabase(Database):
    """Everything raises sqlite3.Error."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        super().__init__(path, MIGRATIONS, create=create)

    # ---- writing

    def commit(self, changes: Changes, generation: int, at: float) -> None:
        """Write all of it or nothing. ``generation`` of the journal is in here then, whose last record was
        written at ``at``."""
        with self.transaction() as db:
            self.write(changes)
            db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('generation', ?), ('alive', ?)", (generation, int(at))
            )

    def write(self, changes: Changes) -> None:
        """Within a transaction."""
        db = self.db
        for number in changes.ended:
            self._end(number)
        alive = [row for row in changes.entries.values() if row.session not in changes.ended]
        wanted = {row.message for row in alive}
        sessions = changes.sessions.values()
        self.insert("session", 3, ((row.number, row.facts(), write_will(row.will)) for row in sessions))
        subscriptions = [
            (key, row) for key, row in changes.subscriptions.items() if key[0] not in changes.ended
        ]
        self.insert("subscription", 4, ((key[0], *row) for key, row in subscriptions if row is not None))
        for key, row in subscriptions:
            if row is None:
                db.execute("DELETE FROM subscription WHERE session = ? AND topic_filter = ?", key)
        messages = changes.messages
        self.insert("message", 8, ((n, *messages[n]) for n in sorted(wanted) if n in messages))
        gone = sorted(changes.gone)
        self._delete_entries(gone)
        self._delete_from_stretches(gone)
        self.insert("entry", 8, alive)
        self.insert("stretch", 11, (row for row in changes.stretches if row.session not in changes.ended))
        self._move(changes.moved)
        packets = [(key, known) for key, known in changes.packets.items() if key[0] not in changes.ended]
        self.insert("packet", 2, (packet for packet, known in packets if known != FORGOTTEN))
        for packet, known in packets:
            if known == FORGOTTEN:
                db.execute("DELETE FROM packet WHERE session = ? AND packet_id = ?", packet)
        retained = changes.retained_rows
        self.insert("retained", 7, (row for row in retained.values() if row is not None))
        cleared = [topic for topic, row in retained.items() if row is None]
        self.each_in("DELETE FROM retained WHERE topic IN", cleared)

        self.insert("ban", 3, (row for row in changes.bans.values() if row is not None))
        for ban, left in changes.bans.items():
            if left is None:
                db.execute("DELETE FROM ban WHERE kind = ? AND who = ?", ban)

    def _move(self, moved: dict[int, tuple[int, int]]) -> None:
        """An entry has its state in its row; a message of a stretch has it in ``flight``."""
        if not moved:
            return
        rows = [(packet_id, state, number) for number, (packet_id, state) in sorted(moved.items())]
        self.db.executemany(
            "UPDATE entry SET packet_id = CASE ?1 WHEN 0 THEN packet_id ELSE ?1 END, state = ?2"
            " WHERE number = ?3",
            rows,
        )
        self.db.executemany(
            "INSERT INTO flight SELECT ?3, ?1, ?2 WHERE ?3 <= (SELECT number + length - 1 FROM stretch"
            " WHERE number <= ?3 ORDER BY number DESC LIMIT 1)"
            " ON CONFLICT DO UPDATE SET packet_id = CASE ?1 WHEN 0 THEN packet_id ELSE ?1 END, state = ?2",
            rows,
        )

    def _delete_from_stretches(self, gone: list[int]) -> None:
        """Cut these messages out of their stretches; ``gone`` is sorted."""
        db = self.db
        if not gone or db.execute("SELECT 1 FROM stretch LIMIT 1").fetchone() is None:
            return
        self.delete("flight", "number", gone)
        for first, last in runs(gone):
            # The one before the first number, and the last of those within: only these can be left in part.
            rows = db.execute(
                "SELECT * FROM stretch"
                " WHERE number = (SELECT max(number) FROM stretch WHERE number < ?1)"
                " OR number = (SELECT max(number) FROM stretch WHERE number BETWEEN ?1 AND ?2)",
                (first, last),
            ).fetchall()
            db.execute("DELETE FROM stretch WHERE number BETWEEN ? AND ?", (first, last))
            for row in map(StretchRow._make, rows):
                if row.last < first:
                    continue
                db.execute("DELETE FROM stretch WHERE number = ?", (row.number,))
                parts = (row.number, first - 1), (last + 1, row.last)
                self.insert("stretch", 11, [row.cut(*part) for part in parts if part[0] <= part[1]])

    def _end(self, session: int) -> None:
        numbers = self.db.execute("SELECT number FROM entry WHERE session = ?", (session,)).fetchall()
        self._delete_entries(number for (number,) in numbers)
        self.db.execute(
            "DELETE FROM flight WHERE ? = (SELECT session FROM stretch WHERE stretch.number <= flight.number"
            " ORDER BY stretch.number DESC LIMIT 1)",
            (session,),
        )
        for table in ("stretch", "subscription", "packet", "session"):
            key = "number" if table == "session" else "session"
            self.db.execute(f"DELETE FROM {table} WHERE {key} = ?", (session,))  # noqa: S608 - names from here

    def _delete_entries(self, numbers: Iterable[int]) -> None:
        """And the messages that nobody waits for any more."""
        db = self.db
        gone = sorted(numbers)
        for start in range(0, len(gone), AT_ONCE):
            part = gone[start : start + AT_ONCE]
            marks = ",".join("?" * len(part))
            chosen = f"SELECT DISTINCT message FROM entry WHERE number IN ({marks})"  # noqa: S608 - only marks
            messages = [message for (message,) in db.execute(chosen, part).fetchall()]
            self.delete("entry", "number", part)
            marks = ",".join("?" * len(messages))
            db.execute(
                f"DELETE FROM message WHERE number IN ({marks})"  # noqa: S608 - only marks
                " AND NOT EXISTS (SELECT 1 FROM entry WHERE message = message.number)",
                messages,
            )

    def give_back(self) -> None:
        """Return free pages to the disk."""
        self.db.execute("PRAGMA incremental_vacuum(1000)").fetchall()

    def size(self) -> int:
        """Bytes in use."""
        pages, free, size = (
            int(self.db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    # ---- reading

    def committed_generation(self) -> int:
        return self.meta("generation")

    def alive(self) -> float:
        """When the broker last wrote; 0 where it never did."""
        return self.meta("alive")

    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        tables = ("session", "subscription", "message", "entry", "packet", "retained", "ban")
        counts: dict[str, int] = {
            table: self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names from here
            for table in tables
        }
        in_stretches = self.db.execute("SELECT coalesce(sum(length), 0) FROM stretch").fetchone()[0]
        for table in ("message", "entry"):
            counts[table] += in_stretches
        return counts

    def highest(self, table: str) -> int:
        """The highest number that is in use."""
        highest = self.db.execute(f"SELECT coalesce(max(number), 0) FROM {table}").fetchone()[0]  # noqa: S608
        if table == "entry":
            last = "SELECT coalesce(max(number + length - 1), 0) FROM stretch"
            highest = max(highest, self.db.execute(last).fetchone()[0])
        return int(highest)

    def sessions(self) -> Iterator[SessionRow]:
        """Raises sqlite3.DatabaseError also where a session cannot be read."""
        for number, facts, will in self.db.execute("SELECT number, facts, will FROM session ORDER BY number"):
            try:
                yield session_row(number, facts, will)
            except Exception as error:
                raise sqlite3.DatabaseError(f"session {number} is damaged: {error}") from error

    def subscriptions(self) -> Iterator[tuple[int, SubscriptionRow]]:
        rows = self.db.execute("SELECT session, topic_filter, options, identifier FROM subscription")
        return ((session, SubscriptionRow(*row)) for session, *row in rows)

    def entries(self) -> Iterator[tuple[EntryRow, MessageRow]]:
        """In their order, those whose message is there."""
        rows = self.db.execute(
            "SELECT e.*, m.topic, m.flags, m.payload_at, m.expires_at, m.client, m.username, m.wire"
            " FROM entry e JOIN message m ON m.number = e.message ORDER BY e.number"
        )
        return ((EntryRow(*row[:8]), MessageRow(*row[8:])) for row in rows)

    def in_order(self) -> Iterator[tuple[EntryRow, MessageRow]]:
        """Entries and messages of stretches, which get the numbers of messages that no other has."""
        free = self.highest("message")
        in_stretches = (
            (EntryRow(number, row.session, free + number, row.flags & 3, packet_id, state, "", ""), message)
            for row in map(StretchRow._make, self.db.execute("SELECT * FROM stretch ORDER BY number"))
            for number, packet_id, state, message in self.each_of(row)
        )
        return heapq.merge(self.entries(), in_stretches, key=lambda item: item[0].number)

    def flights(self) -> list[int]:
        """Numbers of messages of stretches that have been sent since, sorted."""
        return [number for (number,) in self.db.execute("SELECT number FROM flight ORDER BY number")]

    def stretches(self) -> Iterator[StretchHead]:
        """In their order; it does not read the messages."""
        rows = self.db.execute("SELECT number, session, length, packet_id FROM stretch ORDER BY number")
        return map(StretchHead._make, rows)

    def stretch(self, number: int) -> StretchRow:
        rows = self.db.execute("SELECT * FROM stretch WHERE number = ?", (number,))
        return StretchRow._make(rows.fetchone())

    def each_of(self, row: StretchRow) -> Iterator[tuple[int, int, int, MessageRow]]:
        """Number, packet identifier, state and message of each of a stretch."""
        rows = self.db.execute(
            "SELECT number, packet_id, state FROM flight WHERE number BETWEEN ? AND ?", (row.number, row.last)
        )
        flights = {number: (packet_id, state) for number, packet_id, state in rows}
        for number, packet_id, message in row.each():
            moved_id, state = flights.get(number, (0, SENT if packet_id else WAITS))
            yield number, moved_id or packet_id, state, message

    def waiting(
        self, session: int, after: int, limit: int, max_bytes: int
    ) -> list[tuple[EntryRow, MessageRow] | StretchRow]:
        """The messages that wait for ``session`` behind the one with the number ``after``, in their order:
        about ``limit`` of them, or fewer where they are large."""
        rows = self.db.execute(
            "SELECT e.*, m.topic, m.flags, m.payload_at, m.expires_at, m.client, m.username, m.wire"
            " FROM entry e JOIN message m ON m.number = e.message"
            " WHERE e.session = ? AND e.number > ? AND e.state = 0 ORDER BY e.number LIMIT ?",
            (session, after, limit),
        )
        stretches = self.db.execute(
            "SELECT * FROM stretch WHERE session = ? AND number > ? ORDER BY number", (session, after)
        )
        found: list[tuple[EntryRow, MessageRow] | StretchRow] = []
        count = size = 0
        for row in heapq.merge(rows, stretches, key=itemgetter(0)):
            found.append(
                StretchRow._make(row) if len(row) == 11 else (EntryRow(*row[:8]), MessageRow(*row[8:]))
            )
            count += row[2] if len(row) == 11 else 1
            size += len(row[-1])
            if size >= max_bytes or count >= limit:
                break
        rows.close()
        stretches.close()
        return found

    def packets(self) -> Iterator[tuple[int, int]]:
        return iter(self.db.execute("SELECT session, packet_id FROM packet"))

    def bans(self) -> Iterator[BanRow]:
        return map(BanRow._make, self.db.execute("SELECT * FROM ban"))

    def retained(self) -> Iterator[MessageRow]:
        return map(MessageRow._make, self.db.execute("SELECT * FROM retained"))

    def faults(self) -> list[str]:
        """What is wrong with the file, a line each."""
        found = [str(row[0]) for row in self.db.execute("PRAGMA integrity_check(10)") if row[0] != "ok"]
        for what, query in (
            ("entries of no session", "entry WHERE session NOT IN (SELECT number FROM session)"),
            ("entries of no message", "entry WHERE message NOT IN (SELECT number FROM message)"),
            ("subscriptions of no session", "subscription WHERE session NOT IN (SELECT number FROM session)"),
            ("stretches of no session", "stretch WHERE session NOT IN (SELECT number FROM session)"),
        ):
            count = self.db.execute(f"SELECT count(*) FROM {query}").fetchone()[0]  # noqa: S608 - from here
            if count:
                found.append(f"{count} {what}")
        return found
