# ruff: noqa: S608 - statements are put together from the callers' own names alone
"""A SQLite database in WAL mode with every commit on disk, and statements of many rows.

All calls block, and only one thread may use it at a time. A statement takes many rows, because SQLite
releases the GIL in every statement, and getting it back from a busy event loop takes long.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

MOST_IN = 500
"""The most values of one ``IN``."""


class Database:
    """An open database. Everything raises sqlite3.Error."""

    def __init__(self, path: Path, migrations: Sequence[str], *, create: bool = True) -> None:
        """``migrations``: the statements that make each version of the schema from the previous one."""
        if create:
            # Only this user may read what clients sent.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self.db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw",
            uri=True,
            timeout=10.0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._prepare(migrations)
        except BaseException:
            self.db.close()
            raise

    def _prepare(self, migrations: Sequence[str]) -> None:
        version = self.db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(migrations):
            raise sqlite3.DatabaseError(f"format {version} is that of a newer pybroker")
        self.db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")  # each commit is on disk
        for number, migration in enumerate(migrations[version:], version + 1):
            self.db.executescript(f"BEGIN IMMEDIATE; {migration}; PRAGMA user_version = {number}; COMMIT;")
        self._max_values = self.db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit everything or nothing; on disk when it ends."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    def insert(self, table: str, columns: int, rows: Iterable[tuple[object, ...]]) -> None:
        """Insert or replace. ``rows`` are made as they are needed, so that the GIL is never held for long."""
        marks = "(" + ",".join("?" * columns) + ")"
        rows = iter(rows)
        while chunk := list(islice(rows, min(500, self._max_values // columns))):
            values = [value for row in chunk for value in row]
            statement = f"INSERT OR REPLACE INTO {table} VALUES {','.join([marks] * len(chunk))}"
            self.db.execute(statement, values)

    def each_in(self, statement: str, values: Sequence[object]) -> None:
        """Execute ``statement``, which ends with ``IN``, for all the values."""
        for chunk in chunks(values, min(MOST_IN, self._max_values)):
            self.db.execute(f"{statement} ({','.join('?' * len(chunk))})", chunk)

    def delete(self, table: str, key: str, numbers: Iterable[int]) -> None:
        """Delete the rows with these numbers, with one statement for each run of consecutive numbers."""
        singles: list[int] = []
        for first, last in runs(sorted(numbers)):
            if last - first < 3:
                singles.extend(range(first, last + 1))
            else:
                self.db.execute(f"DELETE FROM {table} WHERE {key} BETWEEN ? AND ?", (first, last))
        self.each_in(f"DELETE FROM {table} WHERE {key} IN", singles)

    def meta(self, key: str) -> int:
        """A number of the table ``meta``; 0 if there is none."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return int(row[0]) if row else 0


def chunks(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and last of each run of consecutive numbers; ``numbers`` are sorted."""
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last
