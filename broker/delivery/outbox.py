"""What waits to be written to one connection: gathered while packets are handled, written once."""

from __future__ import annotations

from collections.abc import Callable

from ..session.session import Writable

LARGE = 8192
"""Packets of this size are written one by one: joining them would cost a copy, and saves little."""


class Outbox:
    """Packets for one connection, in order. Append to ``chunks`` by way of :class:`Pending` only."""

    __slots__ = ("chunks", "write", "written")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.chunks: list[bytes] = []
        self.write = write
        self.written = 0
        """Bytes of the last flush."""

    def flush(self) -> int:
        """Write everything in one call; how many packets that were."""
        chunks = self.chunks
        count = len(chunks)
        if count == 1:
            chunk = chunks.pop()
            self.written = len(chunk)
            self.write(chunk)
        elif count:
            # Taken out first: a connection that takes no more says so while it is written to.
            self.chunks = []
            if len(chunks[-1]) < LARGE:
                joined = b"".join(chunks)
                self.written = len(joined)
                self.write(joined)
            else:
                self.written = sum(map(len, chunks))
                for chunk in chunks:
                    self.write(chunk)
        return count


class Pending:
    """The outboxes that have something to write."""

    __slots__ = ("bytes", "outboxes")

    def __init__(self) -> None:
        self.outboxes: list[Writable] = []
        self.bytes = 0
        """All that was ever written."""

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
        """Write what every outbox has; how many packets that were."""
        count = 0
        while self.outboxes:
            outboxes, self.outboxes = self.outboxes, []
            for outbox in outboxes:
                count += outbox.flush()
                self.bytes += outbox.written
        return count
