"""The files of the state, and the errors when they cannot be used."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..storage.journal import Journal, JournalBusyError, JournalDamagedError
from . import records
from .changes import Changes
from .database import StateDatabase
from .errors import StateBusyError, StateError

DATABASE = "pybroker.db"
JOURNAL = "pybroker.journal"


@dataclass(slots=True)
class Opened:
    """Both files, and in the database all that an earlier run has left."""

    database: StateDatabase
    journal: Journal
    damaged: int
    """Places of the journal that could not be read."""
    alive: float
    """When that run last wrote, in seconds since the epoch; 0: never."""

    def close(self) -> None:
        self.database.close()
        self.journal.close()


def open_state(directory: Path) -> Opened:
    """Take the files for this process alone, and commit what the journal has. Blocking. Raises StateError."""
    with reported(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal = Journal(directory / JOURNAL)
        try:
            database = StateDatabase(directory / DATABASE)
            try:
                found = journal.recover(database.committed_generation())
                changes = Changes()
                damaged, alive = found.damaged, database.alive()
                for record in found.records:
                    try:
                        alive = max(alive, records.read(record, changes))
                    except ValueError:
                        damaged += 1
                changes.settle()
                database.commit(changes, journal.generation, alive)
            except BaseException:
                database.close()
                raise
            journal.begin()
        except BaseException:
            journal.close()
            raise
    return Opened(database, journal, damaged, alive)


@contextmanager
def reported(directory: Path) -> Iterator[None]:
    """Make a StateError of what goes wrong with the files."""
    where = f"the state in {directory}"
    try:
        yield
    except JournalBusyError:
        text = "another process uses it; each broker needs a directory of its own (sqlite.mounted_file_path)"
        raise StateBusyError(f"{where}: {text}") from None
    except JournalDamagedError:
        raise StateError(
            f"{where}: {JOURNAL} is damaged; move it away to go on with what {DATABASE} has"
        ) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space" if full else "the broker must be able to write there"
        raise StateError(f"{where}: {error.strerror}; {advice}") from error
    except sqlite3.Error as error:
        raise StateError(f"{where}: {DATABASE}: {error}; {advice_for(error)}") from error


def advice_for(error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return "free some space"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return "the broker must be able to write there"
        case sqlite3.SQLITE_BUSY:
            return "another program holds it"
    return "move the files away to begin anew"
