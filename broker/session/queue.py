"""Messages that wait for a client: away, reading too slowly, or with a full window."""

from __future__ import annotations

from collections import deque

from .inflight import Outgoing

OVERHEAD = 300
"""What a message takes beside its bytes, roughly: so that many small ones are bounded as well."""


class MessageQueue:
    """At most ``max_messages`` messages of QoS 1 and 2, and ``max_bytes`` bytes of all; what gives way
    first is QoS 0, which waits for a connected client only.

    QoS 0 has a line of its own: it never waits for an acknowledgement, and order is promised within
    one QoS only [MQTT-4.6.0-5].
    """

    __slots__ = ("_acknowledged", "_plain", "bytes", "max_bytes", "max_messages")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.bytes = 0
        self._plain: deque[Outgoing] = deque()
        self._acknowledged: deque[Outgoing] = deque()

    def __len__(self) -> int:
        return len(self._plain) + len(self._acknowledged)

    def add(self, message: Outgoing, taken: int = 0) -> list[Outgoing]:
        """Put ``message`` at the end. ``taken`` is how many of the bytes others take. Returns what had to go:
        nothing, the oldest messages of QoS 0, or ``message`` itself."""
        size = len(message.publish.wire) + OVERHEAD
        full = message.qos and len(self._acknowledged) >= self.max_messages
        room = self.max_bytes - taken
        if full or size > room or (self.bytes + size > room and not message.qos):
            return [message]
        dropped: list[Outgoing] = []
        while self.bytes + size > room:
            if not self._plain:
                return [*dropped, message]
            dropped.append(self._taken(self._plain.popleft()))
        (self._acknowledged if message.qos else self._plain).append(message)
        self.bytes += size
        return dropped

    def next_plain(self) -> Outgoing | None:
        """The QoS 0 message that has waited longest, removed."""
        return self._taken(self._plain.popleft()) if self._plain else None

    def first_acknowledged(self) -> Outgoing | None:
        """The QoS 1 or 2 message that has waited longest; it stays."""
        return self._acknowledged[0] if self._acknowledged else None

    def next_acknowledged(self) -> Outgoing | None:
        """The QoS 1 or 2 message that has waited longest, removed."""
        return self._taken(self._acknowledged.popleft()) if self._acknowledged else None

    def take_expired(self, now: float) -> list[Outgoing]:
        """The messages that expired by ``now`` with none before them that did not, removed."""
        taken: list[Outgoing] = []
        for line in (self._plain, self._acknowledged):
            while line and (expires_at := line[0].publish.expires_at) is not None and expires_at <= now:
                taken.append(self._taken(line.popleft()))
        return taken

    def messages(self) -> list[Outgoing]:
        """All that wait, those of QoS 0 first; a copy."""
        return [*self._plain, *self._acknowledged]

    def clear(self) -> None:
        self._plain.clear()
        self._acknowledged.clear()
        self.bytes = 0

    def _taken(self, message: Outgoing) -> Outgoing:
        self.bytes -= len(message.publish.wire) + OVERHEAD
        return message
