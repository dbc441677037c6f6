"""What happened since the last commit to the spool, in a file that is mapped into memory.

Writing to it is a copy in memory, with no system call, so it can be done on the event loop; and what has
been copied survives the death of the process, because the pages belong to the kernel. It does not survive a
loss of power: that is the commit's part.

The file has two halves. One is written to, while the other is being committed; a commit that succeeded clears
its half. Each half begins with its generation and the length of what is valid in it; a generation that the
spool knows as committed is not read again.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from zlib import crc32

from ..parcels import Delivery

HALF = 4 << 20
SMALLEST_HALF = 64 << 10
LAST_GENERATION = 1 << 62
"""No journal gets there."""

_HALF_HEAD = Struct("<QQ")  # generation, bytes used
_RECORD_HEAD = Struct("<II")  # length of what follows, its CRC
_PUT = Struct("<BQdiiiii")  # kind, seq, at, lengths: id, event, topic (-1 for none), client, headers
_DONE = Struct("<BQ")  # kind, seq
_IS_PUT, _IS_DONE = 1, 2


class JournalBusyError(Exception):
    """Another process holds the journal."""


class JournalDamagedError(Exception):
    """What stands in the file cannot have been written by a Journal."""


class Journal:
    """An open journal. Not for threads: only the event loop writes."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file and takes it for this process alone.

        Raises JournalBusyError, or OSError where the file cannot be made (ENOSPC: not even small)."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise JournalBusyError(str(path)) from None
            size = os.fstat(self._fd).st_size
            if size < 2 * SMALLEST_HALF:  # it is new, or its making was cut off
                os.ftruncate(self._fd, 0)
                size = _allocate(self._fd)
            self._map = mmap.mmap(self._fd, size)
        except BaseException:
            os.close(self._fd)
            raise
        self._half = size // 2
        self._active = 0
        """Which half is written to."""
        self.generation = 0
        """Of the half that is written to; after ``recover`` the highest there was."""
        self._used = _HALF_HEAD.size

    def recover(self, committed: int) -> tuple[list[Delivery], list[int]]:
        """What was put and what was done in generations after ``committed``, oldest first.

        Raises JournalDamagedError."""
        puts: list[Delivery] = []
        done: list[int] = []
        halves = sorted((self._head(half)[0], half) for half in (0, 1))
        for generation, half in halves:
            if generation > committed:
                for record in self._records(half):
                    if record[0] == _IS_PUT:
                        puts.append(_read_put(record))
                    else:
                        done.append(_DONE.unpack(record)[1])
        self.generation = max(committed, *(generation for generation, _ in halves))
        if self.generation > LAST_GENERATION:
            raise JournalDamagedError
        return puts, done

    def begin(self) -> None:
        """Forget everything and begin a new generation; only when what was recovered has been committed."""
        for half in (0, 1):
            self._clear(half)
        self._activate(0)

    # ---- writing

    def put(self, delivery: Delivery) -> bool:
        """Note that ``delivery`` waits; False where it does not fit before the next ``switch``."""
        id, event, client = delivery.id.encode(), delivery.event.encode(), delivery.client.encode()
        topic = None if delivery.topic is None else delivery.topic.encode()
        headers = json.dumps(delivery.headers).encode() if delivery.headers else b""
        head = _PUT.pack(
            _IS_PUT,
            delivery.seq,
            delivery.at,
            len(id),
            len(event),
            -1 if topic is None else len(topic),
            len(client),
            len(headers),
        )
        return self._write(b"".join((head, id, event, topic or b"", client, headers, delivery.body)))

    def done(self, items: Sequence[Delivery]) -> bool:
        """Note that ``items`` wait no longer; False where that does not fit. They are then sent again after a
        crash, which at least once allows."""
        return all(self._write(_DONE.pack(_IS_DONE, item.seq)) for item in items)

    def _write(self, record: bytes) -> bool:
        start = self._used
        body = start + _RECORD_HEAD.size
        end = body + len(record)
        if end > self._half:
            return False
        base = self._active * self._half
        self._map[base + body : base + end] = record
        _RECORD_HEAD.pack_into(self._map, base + start, len(record), crc32(record))
        # Last, so that a record which a kill cut off is not seen.
        _HALF_HEAD.pack_into(self._map, base, self.generation, end)
        self._used = end
        return True

    @property
    def filled(self) -> float:
        """How much of the active half is used, 0 to 1."""
        return self._used / self._half

    # ---- halves

    def switch(self) -> int:
        """Write to the other half from now on; returns the generation that ended. The other must be clear."""
        ended = self.generation
        self._activate(1 - self._active)
        return ended

    def clear_inactive(self) -> None:
        """The half that ended is committed."""
        self._clear(1 - self._active)

    def restart(self) -> None:
        """Begin the active half anew: nothing in it is needed any more."""
        self._activate(self._active)

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)

    def _activate(self, half: int) -> None:
        self._active = half
        self.generation += 1
        self._used = _HALF_HEAD.size
        self._clear(half)
        _HALF_HEAD.pack_into(self._map, half * self._half, self.generation, self._used)

    def _clear(self, half: int) -> None:
        _HALF_HEAD.pack_into(self._map, half * self._half, self._head(half)[0], _HALF_HEAD.size)

    def _head(self, half: int) -> tuple[int, int]:
        generation, used = _HALF_HEAD.unpack_from(self._map, half * self._half)
        return generation, used

    def _records(self, half: int) -> Iterator[bytes]:
        """The records of one half, up to the first that is not whole."""
        base, position = half * self._half, _HALF_HEAD.size
        used = min(self._head(half)[1], self._half)
        while position + _RECORD_HEAD.size <= used:
            length, crc = _RECORD_HEAD.unpack_from(self._map, base + position)
            start = base + position + _RECORD_HEAD.size
            record = bytes(self._map[start : start + length])
            if position + _RECORD_HEAD.size + length > used or len(record) < length or crc32(record) != crc:
                return
            yield record
            position += _RECORD_HEAD.size + length


def _allocate(fd: int) -> int:
    """Reserve the disk space now: writing to a page without any would kill the process. Less where there is
    little room."""
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


def _read_put(record: bytes) -> Delivery:
    _, seq, at, *lengths = _PUT.unpack_from(record)
    position = _PUT.size
    texts: list[str | None] = []
    for length in lengths:
        texts.append(None if length < 0 else record[position : position + length].decode())
        position += max(length, 0)
    id, event, topic, client, headers = texts
    pairs = tuple((name, value) for name, value in json.loads(headers)) if headers else ()
    return Delivery(seq, id or "", at, event or "", topic, client or "", pairs, record[position:])
