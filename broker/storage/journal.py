"""A journal of the changes since the last commit to a database, in a file that is mapped into memory.

Writing to it is a copy in memory, with no system call, so it can be done on the event loop; and what has
been copied survives the death of the process, because the pages belong to the kernel. It does not survive a
loss of power: that is the commit's part.

The file has two halves. One is written to, while the other is being committed; a commit that succeeded clears
its half. A generation that the database knows as committed is not read again.

A half begins with its generation and a random tag, twice, each with a CRC. Each record begins with the
tag, its length and a CRC; zeros follow the last record. Where a record is damaged, the next is found by its
tag. No client can know the tag, so none can hide a record in a payload; and one damaged byte costs one
record.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from zlib import crc32

HALF = 4 << 20
SMALLEST_HALF = 64 << 10

_TAG = 8
_GENERATION = Struct(f"<Q{_TAG}s")
_CRC = Struct("<I")
_HALF_HEAD = _GENERATION.size + _CRC.size
_FIRST_RECORD = 2 * _HALF_HEAD
_LENGTH = Struct("<I")
_RECORD_HEAD = _TAG + _LENGTH.size + _CRC.size
_END = bytes(_RECORD_HEAD)


class JournalBusyError(Exception):
    """Another process holds the journal."""


class JournalDamagedError(Exception):
    """A Journal cannot have written the contents of the file."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The records that an earlier run has left."""

    records: list[bytes]
    """Oldest first."""
    damaged: int
    """The number of places that cannot be read. Each had at least one record."""


class Journal:
    """An open journal. It is not thread-safe: only the event loop writes."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, and lock it for this process. Raises JournalBusyError, or OSError if the
        file cannot be created (ENOSPC: not even a small one)."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise JournalBusyError(str(path)) from None
            size = os.fstat(self._fd).st_size
            if size < 2 * SMALLEST_HALF:  # the file is new, or its creation was interrupted
                os.ftruncate(self._fd, 0)
                size = _allocate(self._fd)
            self._map = mmap.mmap(self._fd, size)
        except BaseException:
            os.close(self._fd)
            raise
        self._half = size // 2
        self._active = 0
        """The half that is written to."""
        self._tag = bytes(_TAG)
        """The tag of the half that is written to."""
        self.generation = 0
        """The generation of the half that is written to; after ``recover`` the highest in the file."""
        self._used = _FIRST_RECORD

    def recover(self, committed: int) -> Recovered:
        """The records of the generations after ``committed``. Raises JournalDamagedError."""
        heads = sorted((*self._head(half), half) for half in (0, 1))
        found = [
            record
            for generation, tag, half in heads
            if generation > committed
            for record in self._records(half, tag)
        ]
        self.generation = max(committed, *(generation for generation, _, _ in heads))
        records = [record for record in found if record is not None]
        return Recovered(records, damaged=len(found) - len(records))

    def begin(self) -> None:
        """Discard everything and begin a new generation; only after the recovered records have been
        committed."""
        for half in (0, 1):
            self._clear(half)
        self._activate(0)

    # ---- writing

    def write(self, record: bytes) -> bool:
        """Write ``record``. False if it does not fit before the next ``switch``."""
        start = self._used
        body = start + _RECORD_HEAD
        end = body + len(record)
        if end + len(_END) > self._half:
            return False
        base = self._active * self._half
        self._map[base + end : base + end + len(_END)] = _END
        self._map[base + body : base + end] = record
        # Last, so that a record which a kill cut off is not seen.
        self._map[base + start : base + body] = self._tag + _checked(_LENGTH.pack(len(record)), record)
        self._used = end
        return True

    def sync(self) -> None:
        """Wait until everything that has been written is on the disk. Blocking; any thread may call it."""
        os.fdatasync(self._fd)

    @property
    def filled(self) -> float:
        """The used part of the active half, 0 to 1."""
        return self._used / self._half

    # ---- halves

    def switch(self) -> int:
        """Write to the other half from now on; returns the generation that ended. The other must be clear."""
        ended = self.generation
        self._activate(1 - self._active)
        return ended

    def clear_inactive(self) -> None:
        """Clear the other half, which is committed."""
        self._clear(1 - self._active)

    def restart(self) -> None:
        """Clear the active half: nothing in it is needed any more."""
        self._activate(self._active)

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)

    def _activate(self, half: int) -> None:
        self._active = half
        self.generation += 1
        self._tag = os.urandom(_TAG)
        self._used = _FIRST_RECORD
        self._clear(half)
        base = half * self._half
        self._map[base : base + _FIRST_RECORD] = 2 * _checked(_GENERATION.pack(self.generation, self._tag))

    def _clear(self, half: int) -> None:
        first = half * self._half + _FIRST_RECORD
        self._map[first : first + len(_END)] = _END

    def _head(self, half: int) -> tuple[int, bytes]:
        """The generation and tag of a half; generation 0 if the half was never used."""
        base = half * self._half
        copies = [self._map[at : at + _HALF_HEAD] for at in (base, base + _HALF_HEAD)]
        whole = [copy for copy in copies if copy == _checked(copy[: _GENERATION.size])]
        if whole:
            return max(_GENERATION.unpack_from(copy) for copy in whole)
        if any(copies[1]):
            raise JournalDamagedError
        return 0, bytes(_TAG)

    def _records(self, half: int, tag: bytes) -> Iterator[bytes | None]:
        """The records of one half; None for each place that cannot be read."""
        base = half * self._half
        position, end = base + _FIRST_RECORD, base + self._half
        while position >= 0:
            head = self._map[position : position + _RECORD_HEAD]
            if head == _END:
                return
            body = position + _RECORD_HEAD
            length = _LENGTH.unpack_from(head, _TAG)[0] if head.startswith(tag) else 0
            record = self._map[body : min(body + length, end)]
            if head == tag + _checked(_LENGTH.pack(length), record):
                yield record
                position = body + length
            else:
                yield None
                position = self._map.find(tag, position + 1, end - _RECORD_HEAD)


def _checked(head: bytes, body: bytes = b"") -> bytes:
    """``head`` with the CRC of both."""
    return head + _CRC.pack(crc32(body, crc32(head)))


def _allocate(fd: int) -> int:
    """Reserve the disk space now, because writing to a page without disk space would kill the process.
    Reserves less if there is little room."""
    half = HALF
    while True:
        try:
            os.posix_fallocate(fd, 0, 2 * half)
        except OSError:
            os.ftruncate(fd, 0)
            if half <= SMALLEST_HALF:
                raise
            half //= 4
        else:
            return 2 * half
