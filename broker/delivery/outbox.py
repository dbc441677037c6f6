"""What waits to be written to one connection: gathered while packets are handled, written once."""

from __future__ import annotations

from collections.abc import Callable

from ..session.session import Writable


class Outbox:
    """Packets for one connection, in order. Append to ``chunks`` by way of :class:`Pending` only."""

    __slots__ = ("chunks", "write")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.chunks: list[bytes] = []
        self.write = write

    def flush(self) -> int:
        """Write everything in one call; how many packets that were."""
        chunks = self.chunks
        count = len(chunks)
        if count:
            data = chunks[0] if count == 1 else b"".join(chunks)
            chunks.clear()
            self.write(data)
        return count


class Pending:
    """The outboxes that have something to write."""

    __slots__ = ("outboxes",)

    def __init__(self) -> None:
        self.outboxes: list[Writable] = []

    def send(self, outbox: Writable, packet: bytes) -> None:
        if not outbox.chunks:
            self.outboxes.append(outbox)
        outbox.chunks.append(packet)

    def flush(self) -> int:
        """Write what every outbox has; how many packets that were."""
        count = 0
        while self.outboxes:
            outboxes, self.outboxes = self.outboxes, []
            for outbox in outboxes:
                count += outbox.flush()
        return count
