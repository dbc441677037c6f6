"""The packets to write to one connection. They are collected while packets are handled, and written once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from ..session.session import Writable

log = logging.getLogger("pybroker")

LARGE = 8192
"""Packets of at least this many bytes are written one by one: joining them would cost a copy and save
little."""


class Outbox:
    """Packets for one connection, in order. Only :class:`Pending` may append to ``chunks``."""

    __slots__ = ("chunks", "write", "written")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.chunks: list[bytes] = []
        self.write = write
        self.written = 0
        """Bytes of the last flush."""

    def flush(self) -> int:
        """Write everything in one call; returns the number of packets."""
        chunks = self.chunks
        count = len(chunks)
        if count == 1:
            chunk = chunks.pop()
            self.written = len(chunk)
            self.write(chunk)
        elif count:
            # Taken out first: a connection that is full calls back during the write.
            self.chunks = []
            self.write_all(chunks)
        return count

    def write_all(self, chunks: list[bytes]) -> None:
        """Write packets that were taken out of ``chunks`` before."""
        if len(chunks[-1]) < LARGE:
            joined = b"".join(chunks)
            self.written = len(joined)
            self.write(joined)
        else:
            self.written = sum(map(len, chunks))
            for chunk in chunks:
                self.write(chunk)


class Pending:
    """The outboxes that have something to write."""

    __slots__ = ("bytes", "outboxes")

    def __init__(self) -> None:
        self.outboxes: list[Writable] = []
        self.bytes = 0
        """The bytes that were ever written."""

    def send(self, outbox: Writable, packet: bytes) -> None:
        """Queue ``packet`` for the next flush."""
        if not outbox.chunks:
            self.outboxes.append(outbox)
        outbox.chunks.append(packet)

    def send_all(self, outbox: Writable, packets: list[bytes]) -> None:
        """The same for many, or none."""
        if packets and not outbox.chunks:
            self.outboxes.append(outbox)
        outbox.chunks += packets

    def flush(self) -> int:
        """Write the packets of every outbox; returns their number."""
        count = 0
        while self.outboxes:
            outboxes, self.outboxes = self.outboxes, []
            for outbox in outboxes:
                count += outbox.flush()
                self.bytes += outbox.written
        return count

    def flush_early(self, outbox: Writable) -> int:
        """Write the packets of this outbox, although more may follow at once; returns their number."""
        return outbox.flush()

    def when_written(self, outbox: Writable, then: Callable[[], None]) -> None:
        """Call ``then`` when the packets that ``outbox`` had before the last flush are written."""
        then()


@dataclass(slots=True)
class Held:
    """Packets that are not written yet."""

    packets: list[tuple[Writable, list[bytes]]]
    """The packets of each outbox."""
    then: list[Callable[[], None]] = field(default_factory=list)
    """Functions that are called when the packets are written."""


class HoldingPending(Pending):
    """Calls ``keep`` before it writes; ``keep`` stores the changes that the packets follow from.

    If storing takes time, the packets are held. The owner of ``keep`` takes them with :meth:`take`, and
    writes them with :meth:`write` in the same order.
    """

    __slots__ = ("_then", "held", "keep")

    def __init__(self) -> None:
        super().__init__()
        self.keep: Callable[[], bool] = _nothing_to_keep
        """Called before each flush; returns False if the packets have to be held."""
        self._then: list[Callable[[], None]] = []
        self.held = 0
        """How often packets were taken that are not written yet."""

    def flush(self) -> int:
        return super().flush() if self.keep() else 0

    def flush_early(self, outbox: Writable) -> int:
        return outbox.flush() if self.keep() else 0

    def when_written(self, outbox: Writable, then: Callable[[], None]) -> None:
        if self.held or outbox.chunks:
            self._then.append(then)
        else:
            then()

    @property
    def waits(self) -> bool:
        """Whether there is something to take."""
        return bool(self.outboxes or self._then)

    def take(self) -> Held:
        """Take all packets that are to be written now."""
        outboxes, self.outboxes = self.outboxes, []
        packets: list[tuple[Writable, list[bytes]]] = []
        for outbox in outboxes:
            packets.append((outbox, outbox.chunks))
            outbox.chunks = []
        held = Held(packets, self._then)
        self._then = []
        self.held += 1
        return held

    def write(self, held: Held) -> int:
        """Write packets that were taken; returns their number."""
        count = 0
        for outbox, chunks in held.packets:
            if chunks:
                try:
                    outbox.write_all(chunks)
                except Exception:  # it was closed meanwhile; the others must not wait for ever
                    log.exception("packets that were held back cannot be written to their connection")
                    continue
                count += len(chunks)
                self.bytes += outbox.written
        self.forget(held)
        return count

    def forget(self, held: Held) -> None:
        """Write none of the packets that were taken."""
        self.held -= 1
        for then in held.then:
            then()


def _nothing_to_keep() -> bool:
    return True
