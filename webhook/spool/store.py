# ruff: noqa: S608 - statements are put together from this module's own names alone
"""The spool's database: SQLite in WAL mode. Waiting events and dead letters, in the order of their numbers.

Blocking, for one thread at a time. Statements take many rows each: SQLite lets go of Python's lock in every
statement, and getting it back from a busy event loop takes long.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from ..parcels import OVERHEAD, Delivery, Headers

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at REAL NOT NULL, event TEXT NOT NULL, topic TEXT,
    client TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS dead (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at REAL NOT NULL, event TEXT NOT NULL, topic TEXT,
    client TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL,
    died_at REAL NOT NULL, why TEXT NOT NULL, status INTEGER, answer BLOB NOT NULL);
PRAGMA user_version = 1;
"""
VERSION = 1
COLUMNS = "seq, id, at, event, topic, client, headers, body"
DEAD_COLUMNS = "died_at, why, status, answer"
SIZE = f"length(body) + {OVERHEAD}"
DEAD_SIZE = f"{SIZE} + length(answer)"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up, and why."""

    delivery: Delivery
    died_at: float
    """Seconds since the epoch."""
    why: str
    status: int | None
    """The last answer's; None where there was no answer."""
    answer: bytes
    """The beginning of the last answer's body."""


class Store:
    """An open database. Everything raises sqlite3.Error."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        if create:
            # What clients sent is for nobody else to read.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw",
            uri=True,
            timeout=10.0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise sqlite3.DatabaseError(f"format {version} is that of a newer pybroker")
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # each commit is on disk
        if version < VERSION:
            self._db.executescript(SCHEMA)
        self._max_rows = self._db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)

    def close(self) -> None:
        self._db.close()

    # ---- what waits

    def committed_generation(self) -> int:
        """The last generation of the journal that is in here."""
        return self._meta("generation")

    def last_seq(self) -> int:
        """The highest number that was ever used."""
        highest = [
            self._db.execute(f"SELECT max(seq) FROM {table}").fetchone()[0] for table in ("waiting", "dead")
        ]
        return max(self._meta("last_seq"), *(seq or 0 for seq in highest))

    def waiting(self) -> tuple[int, int]:
        """How many events wait, and the bytes they take."""
        count, size = self._db.execute(f"SELECT count(*), coalesce(sum({SIZE}), 0) FROM waiting").fetchone()
        return count, size

    def read(self, after: int, limit: int, max_bytes: int) -> list[Delivery]:
        """The waiting events after ``after``, oldest first; fewer than ``limit`` where they are large."""
        rows = self._db.execute(
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
        """Write all of it or nothing; on disk when this returns. ``gone`` are numbers of events that wait no
        longer. Where dead letters take more than ``max_dead_bytes`` the oldest are deleted: returns how
        many."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            self._insert("waiting", 8, map(_row, puts))
            self._delete(gone)
            self._insert("dead", 12, map(_dead_row, dead))
            evicted = self._evict(max_dead_bytes) if dead else 0
            db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('generation', ?), ('last_seq', ?)",
                (generation, last_seq),
            )
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return evicted

    def tidy(self, died_before: float, max_dead_bytes: int) -> int:
        """Delete dead letters from before ``died_before``, give free pages back to the disk. Where dead
        letters take more than ``max_dead_bytes`` the oldest are deleted: returns how many."""
        self._db.execute("DELETE FROM dead WHERE died_at < ?", (died_before,))
        evicted = self._evict(max_dead_bytes)
        self._db.execute("PRAGMA incremental_vacuum(1000)").fetchall()
        return evicted

    # ---- dead letters

    def dead(self) -> tuple[int, int]:
        """How many dead letters there are, and the bytes they take."""
        count, size = self._db.execute(f"SELECT count(*), coalesce(sum({DEAD_SIZE}), 0) FROM dead").fetchone()
        return count, size

    def dead_letters(self) -> Iterator[DeadLetter]:
        """All of them, oldest first; read piece by piece, so that others may write meanwhile."""
        after = -1
        while True:
            rows = self._db.execute(
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
        self._in("DELETE FROM dead WHERE seq IN", seqs)

    # ---- statements of many rows

    def _insert(self, table: str, columns: int, rows: Iterator[tuple[object, ...]]) -> None:
        """``rows`` are made as they are needed, so that Python's lock is never held for long."""
        marks = "(" + ",".join("?" * columns) + ")"
        while chunk := list(islice(rows, min(500, self._max_rows // columns))):
            values = [value for row in chunk for value in row]
            statement = f"INSERT OR REPLACE INTO {table} VALUES {','.join([marks] * len(chunk))}"
            self._db.execute(statement, values)

    def _delete(self, seqs: Iterable[int]) -> None:
        """Delete waiting events; neighbours, which most are, in one statement a run."""
        singles: list[int] = []
        for first, last in _runs(sorted(seqs)):
            if last - first < 3:
                singles.extend(range(first, last + 1))
            else:
                self._db.execute("DELETE FROM waiting WHERE seq BETWEEN ? AND ?", (first, last))
        self._in("DELETE FROM waiting WHERE seq IN", singles)

    def _in(self, statement: str, seqs: Sequence[int]) -> None:
        for chunk in _chunks(seqs, min(500, self._max_rows)):
            self._db.execute(f"{statement} ({','.join('?' * len(chunk))})", chunk)

    def _evict(self, max_bytes: int) -> int:
        _, size = self.dead()
        evicted: list[int] = []
        if size > max_bytes:
            for seq, one in self._db.execute(f"SELECT seq, {DEAD_SIZE} FROM dead ORDER BY seq").fetchall():
                if size <= max_bytes:
                    break
                evicted.append(seq)
                size -= one
            self.bury(evicted)
        return len(evicted)

    def _meta(self, key: str) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return int(row[0]) if row else 0


def _row(delivery: Delivery) -> tuple[object, ...]:
    headers = json.dumps(delivery.headers) if delivery.headers else ""
    d = delivery
    return d.seq, d.id, d.at, d.event, d.topic, d.client, headers, d.body


def _dead_row(letter: DeadLetter) -> tuple[object, ...]:
    return *_row(letter.delivery), letter.died_at, letter.why, letter.status, letter.answer


def _delivery(row: Sequence[object]) -> Delivery:
    seq, id, at, event, topic, client, headers, body = row
    try:
        pairs: Headers = tuple((n, v) for n, v in json.loads(str(headers))) if headers else ()
    except ValueError:
        raise sqlite3.DatabaseError(f"the headers of event {seq} are damaged") from None
    return Delivery(seq, id, at, event, topic, client, pairs, body)  # type: ignore[arg-type]


def _runs(seqs: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbours."""
    first = last = None
    for seq in seqs:
        if first is None or last is None:
            first = last = seq
        elif seq == last + 1:
            last = seq
        else:
            yield first, last
            first = last = seq
    if first is not None and last is not None:
        yield first, last


def _chunks(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
