"""Messages queued for a client that is away, reads too slowly, or has a full window."""

from __future__ import annotations

from collections import deque

from .inflight import Outgoing
from .stretch import Stretch

OVERHEAD = 300
"""The approximate memory of a message in addition to its bytes, so that small messages are bounded too."""


class MessageQueue:
    """At most ``max_messages`` messages of QoS 1 and 2, and at most ``max_bytes`` bytes of all messages.
    Messages of QoS 0 are dropped first; they wait only for a connected client.

    QoS 0 has a queue of its own, because it never waits for an acknowledgement, and order is promised only
    within one QoS [MQTT-4.6.0-5].
    """

    __slots__ = (
        "_acknowledged",
        "_plain",
        "_within",
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
        """The number of messages in memory, for a session with a keeper."""
        self.elsewhere = 0
        """The number of messages that only the keeper has. They come after all that are here."""
        self.last = 0
        """The keeper's number of the last message that was added here."""
        self.bytes = 0
        self._plain: deque[Outgoing] = deque()
        self._acknowledged: deque[Outgoing | Stretch] = deque()
        self._within = 0
        """The number of messages in stretches, without one for each stretch."""

    def __len__(self) -> int:
        return len(self._plain) + self._numbered + self.elsewhere

    def add(self, message: Outgoing, taken: int = 0) -> list[Outgoing]:
        """Append ``message``. ``taken`` is the number of bytes used elsewhere. Returns the dropped messages:
        none, the oldest of QoS 0, or ``message`` itself."""
        size = len(message.publish.wire) + OVERHEAD
        full = message.qos and self._numbered + self.elsewhere >= self.max_messages
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

    def has_room(self, size: int, taken: int) -> bool:
        """Whether a message of ``size`` bytes fits beside what is there; also if it is too large for an empty
        queue, because nothing makes room for that. ``taken`` as in :meth:`add`."""
        size += OVERHEAD
        return self.bytes + size <= self.max_bytes - taken or size > self.max_bytes

    def leaves(self, message: Outgoing, taken: int = 0) -> bool:
        """Whether a message of QoS 1 or 2 is left to the keeper alone; ``taken`` as in :meth:`add`."""
        if message.number or self._numbered + self.elsewhere >= self.max_messages:
            return False
        return self.is_beyond(len(message.publish.wire) + OVERHEAD, taken)

    def is_beyond(self, size: int, taken: int = 0) -> bool:
        """Whether memory has the messages that it should have, and none of ``size`` bytes fits."""
        if self.elsewhere or self._numbered >= self.window:
            return True
        return self.bytes + size > self.max_bytes - taken

    def takes_beyond(self, stretch: Stretch) -> bool:
        """Whether all of ``stretch`` may be left to the keeper, behind others that are."""
        return bool(self.elsewhere) and self._numbered + self.elsewhere + len(stretch) <= self.max_messages

    def takes(self, stretch: Stretch, taken: int, *, kept: bool) -> bool:
        """Whether there is room for all of ``stretch`` in memory, behind what is there; ``taken`` as in
        :meth:`add`. ``kept``: a keeper has them, too."""
        count = self._numbered + self.elsewhere + len(stretch)
        if kept and (self.elsewhere or count > self.window):
            return False
        return count <= self.max_messages and self.bytes + size_of(stretch) <= self.max_bytes - taken

    def add_stretch(self, stretch: Stretch) -> None:
        """Append messages for which there is room."""
        if stretch.number:
            self.last = stretch.number + len(stretch) - 1
        self._put(stretch, last=True)

    def bring(self, message: Outgoing) -> None:
        """Append the next message that was left to the keeper, and is loaded now."""
        self.elsewhere -= 1
        self.last = message.number
        self._acknowledged.append(message)
        self.bytes += len(message.publish.wire) + OVERHEAD

    def bring_stretch(self, stretch: Stretch) -> None:
        """Append several loaded messages."""
        count = len(stretch)
        self.elsewhere -= count
        self.last = stretch.number + count - 1
        self._put(stretch, last=True)

    @property
    def runs_low(self) -> bool:
        """Whether the keeper should load more."""
        return self.elsewhere > 0 and self._numbered * 2 <= self.window

    def next_plain(self) -> Outgoing | None:
        """Remove and return the oldest QoS 0 message."""
        return self._taken(self._plain.popleft()) if self._plain else None

    def first_acknowledged(self) -> Outgoing | None:
        """The oldest QoS 1 or 2 message. It stays in the queue."""
        if not self._acknowledged:
            return None
        first = self._acknowledged[0]
        return self._unpacked(first) if isinstance(first, Stretch) else first

    def next_acknowledged(self) -> Outgoing | None:
        """Remove and return the oldest QoS 1 or 2 message."""
        message = self.first_acknowledged()
        if message is None:
            return None
        self._acknowledged.popleft()
        return self._taken(message)

    def first_stretch(self) -> Stretch | None:
        """The oldest QoS 1 or 2 messages, if they are a stretch. They stay in the queue."""
        first = self._acknowledged[0] if self._acknowledged else None
        return first if isinstance(first, Stretch) else None

    def next_of_stretch(self, count: int) -> Stretch:
        """Remove and return the first ``count`` messages of :meth:`first_stretch`, or all."""
        stretch = self._acknowledged.popleft()
        assert isinstance(stretch, Stretch)
        self._within -= len(stretch) - 1
        self.bytes -= size_of(stretch)
        if count >= len(stretch):
            return stretch
        self._put(stretch.cut(count, len(stretch)), last=False)
        return stretch.cut(0, count)

    def take_expired(self, now: float) -> list[Outgoing]:
        """Remove and return the expired messages at the head of the queue."""
        taken: list[Outgoing] = []
        while self._plain and _has_expired(self._plain[0], now):
            taken.append(self._taken(self._plain.popleft()))
        while self._acknowledged and _has_expired(self._acknowledged[0], now):
            message = self.next_acknowledged()
            assert message is not None
            taken.append(message)
        return taken

    def messages(self) -> list[Outgoing]:
        """A copy of all queued messages, those of QoS 0 first."""
        messages = list(self._plain)
        for item in self._acknowledged:
            if isinstance(item, Stretch):
                messages += item.messages()
            else:
                messages.append(item)
        return messages

    def clear(self) -> None:
        self._plain.clear()
        self._acknowledged.clear()
        self.bytes = self.elsewhere = self._within = 0

    @property
    def _numbered(self) -> int:
        """The number of QoS 1 and 2 messages in memory."""
        return len(self._acknowledged) + self._within

    def _put(self, stretch: Stretch, *, last: bool) -> None:
        if last:
            self._acknowledged.append(stretch)
        else:
            self._acknowledged.appendleft(stretch)
        self._within += len(stretch) - 1
        self.bytes += size_of(stretch)

    def _unpacked(self, stretch: Stretch) -> Outgoing:
        """Split the first stretch into messages, and return the first of them."""
        self._acknowledged.popleft()
        self._within -= len(stretch) - 1
        messages = stretch.messages()
        self._acknowledged.extendleft(reversed(messages))
        return messages[0]

    def _taken(self, message: Outgoing) -> Outgoing:
        self.bytes -= len(message.publish.wire) + OVERHEAD
        return message


def size_of(stretch: Stretch) -> int:
    """Bytes that it takes in a queue."""
    return len(stretch.run.wire) + len(stretch) * OVERHEAD


def _has_expired(item: Outgoing | Stretch, now: float) -> bool:
    """Messages of a stretch never expire."""
    if isinstance(item, Stretch):
        return False
    expires_at = item.publish.expires_at
    return expires_at is not None and expires_at <= now
