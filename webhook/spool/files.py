"""The files of a spool, and the errors when they cannot be used."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pybroker.broker.storage.journal import Journal, JournalBusyError, JournalDamagedError

from . import records
from .store import Store


class SpoolError(Exception):
    """A spool cannot be used; the message says which endpoint's, which file, why, and what to do."""

    def __init__(self, label: str, text: str) -> None:
        super().__init__(f"{label}: {text}")
        self.text = text
        """The message without the name of the endpoint."""


class SpoolFullError(SpoolError):
    """The disk has no room for the spool; it may have room later."""


FULL = 1 << 20
"""A disk with fewer free bytes counts as full."""


def database_path(directory: Path, name: str) -> Path:
    """The database of the endpoint ``name`` in the spool ``directory``."""
    return directory / f"{name}.db"


def forgotten(known: Collection[Path]) -> list[Path]:
    """The databases beside the ``known`` ones in which events wait that no endpoint sends. Blocking."""
    beside = {path for one in known for path in one.parent.glob("*.db")}
    return sorted(path for path in beside.difference(known) if _is_left(path))


def _is_left(database: Path) -> bool:
    """Whether events wait in it. False if another process uses it, or if it is not a spool's database."""
    journal_path = database.with_suffix(".journal")
    if not journal_path.exists():
        return False
    try:
        with closing(Journal(journal_path)) as journal, closing(Store(database, create=False)) as store:
            puts, gone = records.read(journal.recover(store.committed_generation()).records)
            count, _ = store.waiting()
            return count > 0 or not {put.seq for put in puts} <= gone
    except (JournalBusyError, JournalDamagedError, OSError, sqlite3.Error):
        return False


@contextmanager
def reported(directory: Path, name: str, label: str) -> Iterator[None]:
    """Turn errors with the files of the endpoint ``name``, called ``label``, into SpoolError; SpoolFullError
    if the disk is full."""
    spool = f"the spool {directory}"
    try:
        yield
    except JournalBusyError:
        text = "another process uses it; each broker needs a spool of its own"
        raise SpoolError(label, f"{spool}: {text}") from None
    except JournalDamagedError:
        text = f"{name}.journal is damaged; move it away to go on without it"
        raise SpoolError(label, f"{spool}: {text}") from None
    except OSError as error:
        file = (
            "" if error.filename is None or Path(error.filename) == directory else Path(error.filename).name
        )
        kind = SpoolFullError if _is_full(error, directory) else SpoolError
        raise kind(label, f"{spool}: {file and file + ': '}{error.strerror}; {_advice(error)}") from error
    except sqlite3.Error as error:
        kind = SpoolFullError if _is_full(error, directory) else SpoolError
        raise kind(label, f"{spool}: {name}.db: {error}; {_advice(error)}") from error


def _is_full(error: OSError | sqlite3.Error, directory: Path) -> bool:
    """Whether the disk is full. For files beside the database SQLite reports that as an I/O error."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and not _has_room(directory))


def _has_room(directory: Path) -> bool:
    try:
        return shutil.disk_usage(directory).free > FULL
    except OSError:
        return True


def _advice(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError):
        no_space = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return "free some space" if no_space else "the broker must be able to write there"
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return "free some space"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return "the broker must be able to write there"
        case sqlite3.SQLITE_BUSY:
            return "another program holds it"
    return "move the files away to begin anew"
