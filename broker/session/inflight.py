"""Inflight messages of QoS 1 and 2 to one client."""

from __future__ import annotations

from typing import Any

from ..packets.model import Publish

MAX_PACKET_ID = 65_535


class Outgoing:
    """One message for one session: waiting in its queue, or sent and not yet acknowledged."""

    __slots__ = ("group", "identifiers", "number", "publish", "qos", "released", "retain", "sent_at")

    def __init__(
        self,
        publish: Publish,
        qos: int,
        retain: bool = False,
        identifiers: tuple[int, ...] = (),
        group: Any = None,
    ) -> None:
        self.publish = publish
        self.qos = qos
        self.retain = retain
        self.identifiers = identifiers
        self.group = group
        """The shared group for which the session got it, and to which it may return; None otherwise."""
        self.number = 0
        """The keeper's number of the message; 0 if the keeper does not have it."""
        self.sent_at = 0.0
        self.released = False
        """QoS 2: PUBREC was received and PUBREL was sent. The message itself is never sent again."""


UNSENT: dict[int, Outgoing] = {}
LARGE: dict[int, int] = {}
"""Shared by all that have none, and replaced before one is added."""


class Inflight:
    """The messages sent to a client and not yet acknowledged, in the order they were sent."""

    __slots__ = ("_last", "bytes", "large", "messages", "unsent")

    def __init__(self) -> None:
        self.messages: dict[int, Outgoing] = {}
        self.unsent = UNSENT
        """Those of ``messages`` that were sent before the client reconnected, and were not sent again yet.
        Only :meth:`resend_later` adds one."""
        self.large = LARGE
        """The sizes of the large ``messages``. The number of small ones is bounded instead."""
        self.bytes = 0
        """The sum of ``large``."""
        self._last = 0

    def count(self, packet_id: int, size: int) -> None:
        """Count a large message with ``size`` bytes, until :meth:`uncount`."""
        if self.large is LARGE:
            self.large = {}
        self.bytes += size - self.large.get(packet_id, 0)
        self.large[packet_id] = size

    def uncount(self, packet_id: int) -> bool:
        """Stop counting a message; returns whether it was large."""
        size = self.large.pop(packet_id, 0)
        self.bytes -= size
        return size > 0

    def resend_later(self, packet_id: int, message: Outgoing) -> None:
        """The message is to be sent again, once there is room."""
        if self.unsent is UNSENT:
            self.unsent = {}
        self.unsent[packet_id] = message

    def __len__(self) -> int:
        return len(self.messages)

    def add(self, message: Outgoing) -> int:
        """Add ``message`` with a free packet identifier [MQTT-2.2.1-4]. The caller has checked that the
        window, which is below 65,535, has room."""
        messages = self.messages
        packet_id = self._last + 1
        while packet_id in messages or packet_id > MAX_PACKET_ID:
            packet_id = packet_id + 1 if packet_id < MAX_PACKET_ID else 1
        self._last = packet_id
        messages[packet_id] = message
        return packet_id

    def free_block(self, count: int) -> int:
        """The first of ``count`` consecutive free identifiers; 0 if there are none now."""
        first = self._last + 1 if self._last < MAX_PACKET_ID else 1
        if first + count > MAX_PACKET_ID + 1:
            return 0
        return first if self.messages.keys().isdisjoint(range(first, first + count)) else 0

    def add_all(self, first: int, messages: list[Outgoing]) -> None:
        """Add ``messages`` with identifiers from ``first`` on, which :meth:`free_block` has found."""
        self._last = first + len(messages) - 1
        self.messages.update(zip(range(first, self._last + 1), messages, strict=True))

    def restore(self, packet_id: int, message: Outgoing) -> None:
        """Add ``message`` with the identifier that it had in an earlier run of the broker."""
        self.messages[packet_id] = message
        self._last = packet_id
