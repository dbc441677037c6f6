# ruff: noqa: S608 - statements are put together from this module's own names alone
"""The spool's database: SQLite in WAL mode. Waiting events and dead letters, in the order of their numbers.

Blocking, for one thread at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pybroker.broker.storage.database import Database

from ..parcels import OVERHEAD, Delivery, Headers, header_bytes

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at REAL NOT NULL, event TEXT NOT NULL, topic TEXT,
    client TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS dead (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at REAL NOT NULL, event TEXT NOT NULL, topic TEXT,
    client TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL,
    died_at REAL NOT NULL, why TEXT NOT NULL, status INTEGER, answer BLOB NOT NULL);
"""
COLUMNS = "seq, id, at, event, topic, client, headers, body"
DEAD_COLUMNS = "died_at, why, status, answer"
SIZE = f"length(body) + {OVERHEAD}"
DEAD_SIZE = f"{SIZE} + length(headers) + length(answer)"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up, and the reason."""

    delivery: Delivery
    died_at: float
    """Seconds since the epoch."""
    why: str
    status: int | None
    """The status of the last answer; None without an answer."""
    answer: bytes
    """The beginning of the last answer's body."""


class Store(Database):
    """An open database. Everything raises sqlite3.Error."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        super().__init__(path, [SCHEMA], create=create)
        self.db.create_function("header_bytes", 1, _header_bytes, deterministic=True)

    # ---- what waits

    def committed_generation(self) -> int:
        """The last generation of the journal that is in the database."""
        return self.meta("generation")

    def last_seq(self) -> int:
        """The highest number that was ever used."""
        highest = [
            self.db.execute(f"SELECT max(seq) FROM {table}").fetchone()[0] for table in ("waiting", "dead")
        ]
        return max(self.meta("last_seq"), *(seq or 0 for seq in highest))

    def waiting(self) -> tuple[int, int]:
        """The number of waiting events, and their bytes."""
        size = f"{SIZE} + header_bytes(headers)"
        count, size = self.db.execute(f"SELECT count(*), coalesce(sum({size}), 0) FROM waiting").fetchone()
        return count, size

    def read(self, after: int, limit: int, max_bytes: int) -> list[Delivery]:
        """The waiting events after ``after``, oldest first; fewer than ``limit`` if they are large."""
        rows = self.db.execute(
            f"SELECT {COLUMNS} FROM waiting WHERE seq > ? ORDER BY seq LIMIT ?",
            (after, limit),
        )
        found, size = [], 0
        for row in rows:
            delivery = _delivery(row)
            found.append(delivery)
            size += delivery.size
            if size >= max_bytes:
                break
        rows.close()
        return found

    def commit(
        self,
        puts: Sequence[Delivery],
        gone: Sequence[int],
        dead: Sequence[DeadLetter],
        generation: int,
        last_seq: int,
        max_dead_bytes: int,
    ) -> int:
        """Write all changes or nothing; on disk when this returns. ``gone`` are the numbers of events that no
        longer wait. If dead letters take more than ``max_dead_bytes``, the oldest are deleted; returns how
        many."""
        with self.transaction() as db:
            self.insert("waiting", 8, map(_row, puts))
            self.delete("waiting", "seq", gone)
            self.insert("dead", 12, map(_dead_row, dead))
            evicted = self._evict(max_dead_bytes) if dead else 0
            db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('generation', ?), ('last_seq', ?)",
                (generation, last_seq),
            )
        return evicted

    def tidy(self, died_before: float, max_dead_bytes: int) -> int:
        """Delete dead letters from before ``died_before``, and return free pages to the disk. If dead letters
        take more than ``max_dead_bytes``, the oldest are deleted; returns how many."""
        self.db.execute("DELETE FROM dead WHERE died_at < ?", (died_before,))
        evicted = self._evict(max_dead_bytes)
        self.db.execute("PRAGMA incremental_vacuum(1000)").fetchall()
        return evicted

    # ---- dead letters

    def dead(self) -> tuple[int, int]:
        """The number of dead letters, and their bytes."""
        count, size = self.db.execute(f"SELECT count(*), coalesce(sum({DEAD_SIZE}), 0) FROM dead").fetchone()
        return count, size

    def dead_letters(self) -> Iterator[DeadLetter]:
        """All dead letters, oldest first. They are read in pieces, so that others can write meanwhile."""
        after = -1
        while True:
            rows = self.db.execute(
                f"SELECT {COLUMNS}, {DEAD_COLUMNS} FROM dead WHERE seq > ? ORDER BY seq LIMIT 200",
                (after,),
            ).fetchall()
            for row in rows:
                yield DeadLetter(_delivery(row[:8]), *row[8:])
            if not rows:
                return
            after = rows[-1][0]

    def bury(self, seqs: Sequence[int]) -> None:
        """Delete these dead letters."""
        self.each_in("DELETE FROM dead WHERE seq IN", seqs)

    def _evict(self, max_bytes: int) -> int:
        _, size = self.dead()
        evicted: list[int] = []
        if size > max_bytes:
            for seq, one in self.db.execute(f"SELECT seq, {DEAD_SIZE} FROM dead ORDER BY seq").fetchall():
                if size <= max_bytes:
                    break
                evicted.append(seq)
                size -= one
            self.bury(evicted)
        return len(evicted)


def _row(delivery: Delivery) -> tuple[object, ...]:
    headers = json.dumps(delivery.headers) if delivery.headers else ""
    d = delivery
    return d.seq, d.id, d.at, d.event, d.topic, d.client, headers, d.body


def _dead_row(letter: DeadLetter) -> tuple[object, ...]:
    return *_row(letter.delivery), letter.died_at, letter.why, letter.status, letter.answer


def _header_bytes(headers: str) -> int:
    if not headers:
        return 0
    try:
        return header_bytes(tuple((str(name), str(value)) for name, value in json.loads(headers)))
    except (ValueError, TypeError):  # the reader of the event reports that it is damaged
        return 0


def _delivery(row: Sequence[object]) -> Delivery:
    seq, id, at, event, topic, client, headers, body = row
    try:
        pairs: Headers = tuple((n, v) for n, v in json.loads(str(headers))) if headers else ()
    except ValueError:
        raise sqlite3.DatabaseError(f"the headers of event {seq} are damaged") from None
    return Delivery(seq, id, at, event, topic, client, pairs, body)  # type: ignore[arg-type]
