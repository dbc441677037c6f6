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

    __slots__ = (
        "_acknowledged",
        "_plain",
        "bytes",
        "elsewhere",
        "last",
        "max_bytes",
        "max_messages",
        "window",
    )

    def __init__(self, max_messages: int, max_bytes: int, window: int = 0) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.window = window
        """How many messages of a session that has a keeper are in memory as well."""
        self.elsewhere = 0
        """Messages that the keeper alone has; they come after all that are here."""
        self.last = 0
        """The keeper's number of the last message that is or was here."""
        self.bytes = 0
        self._plain: deque[Outgoing] = deque()
        self._acknowledged: deque[Outgoing] = deque()

    def __len__(self) -> int:
        return len(self._plain) + len(self._acknowledged) + self.elsewhere

    def add(self, message: Outgoing, taken: int = 0) -> list[Outgoing]:
        """Put ``message`` at the end. ``taken`` is how many of the bytes others take. Returns what had to go:
        nothing, the oldest messages of QoS 0, or ``message`` itself."""
        size = len(message.publish.wire) + OVERHEAD
        full = message.qos and len(self._acknowledged) + self.elsewhere >= self.max_messages
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

    def leaves(self, message: Outgoing, taken: int = 0) -> bool:
        """Whether a message of QoS 1 or 2 is left to the keeper alone; ``taken`` as in :meth:`add`."""
        if message.number or len(self._acknowledged) + self.elsewhere >= self.max_messages:
            return False
        return self.is_beyond(message, taken)

    def is_beyond(self, message: Outgoing, taken: int = 0) -> bool:
        """Whether memory has as many messages as it should."""
        if self.elsewhere or len(self._acknowledged) >= self.window:
            return True
        return self.bytes + len(message.publish.wire) + OVERHEAD > self.max_bytes - taken

    def bring(self, message: Outgoing) -> None:
        """The keeper has brought the next of those that were left to it."""
        self.elsewhere -= 1
        self.last = message.number
        self._acknowledged.append(message)
        self.bytes += len(message.publish.wire) + OVERHEAD

    @property
    def runs_low(self) -> bool:
        """Whether the keeper should bring more."""
        return self.elsewhere > 0 and len(self._acknowledged) * 2 <= self.window

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
        self.bytes = self.elsewhere = 0

    def _taken(self, message: Outgoing) -> Outgoing:
        self.bytes -= len(message.publish.wire) + OVERHEAD
        return message
