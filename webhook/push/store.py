"""Registrations on disk. All calls block, and must come from one thread."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from pybroker.broker.storage.database import Database

from .registration import FIELDS, Registration

NAME = "push-registrations.sqlite"

_MIGRATIONS = (
    """
    CREATE TABLE registrations (
        client TEXT NOT NULL, service TEXT NOT NULL, device TEXT NOT NULL,
        at REAL NOT NULL, options TEXT NOT NULL,
        PRIMARY KEY (client, service, device)
    ) WITHOUT ROWID
    """,
)


class StoreError(Exception):
    """The file cannot be used; the message says which, and why."""


class Store:
    """An open file, locked against other processes."""

    def __init__(self, directory: Path) -> None:
        """Open or create the file. Raises StoreError."""
        path = directory / NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}; the broker must be able to write there") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._database = Database(path, _MIGRATIONS)
        except BlockingIOError:
            os.close(self._lock)
            raise StoreError(f"{path}: another process uses it; each broker needs one of its own") from None
        except sqlite3.Error as error:
            os.close(self._lock)
            raise StoreError(f"{path}: {error}; move it away to begin anew") from error

    def read(self) -> list[Registration]:
        """All registrations. Fields that a later version has added are left out. Raises StoreError."""
        try:
            rows = self._database.db.execute("SELECT client, service, device, at, options FROM registrations")
            return [_registration(*row) for row in rows]
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise StoreError(f"{NAME}: {error}; move it away to begin anew") from error

    def write(self, changes: Iterable[tuple[Registration, bool]]) -> None:
        """Write each registration, or delete it if False stands beside it. All or nothing; on disk when this
        returns. Raises sqlite3.Error."""
        with self._database.transaction() as db:
            for one, kept in changes:
                key = one.client, *one.key
                if kept:
                    row = (*key, one.at, json.dumps(one.options()))
                    db.execute("INSERT OR REPLACE INTO registrations VALUES (?, ?, ?, ?, ?)", row)
                else:
                    db.execute(
                        "DELETE FROM registrations WHERE client = ? AND service = ? AND device = ?", key
                    )

    def close(self) -> None:
        self._database.close()
        os.close(self._lock)


def _registration(client: str, service: str, device: str, at: float, options: str) -> Registration:
    known = {key: value for key, value in json.loads(options).items() if key in FIELDS}
    return Registration(client, service, device, at, **known)
