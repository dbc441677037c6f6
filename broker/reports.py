"""Counts what happens to messages, and makes events of it if somebody observes them."""

from __future__ import annotations

from typing import Any

from .clock import Clock
from .counters import Counters
from .events import (
    Client,
    MessageAcked,
    MessageDelivered,
    MessageDropped,
    MessagePublished,
    MessageQueued,
    MessageRetained,
)
from .hooks import Hooks, Observer, tell
from .packets.model import Publish


class Reports:
    """One for the broker, handed to all that touch messages."""

    __slots__ = ("clock", "counters", "hooks")

    def __init__(self, hooks: Hooks, counters: Counters, clock: Clock) -> None:
        self.hooks = hooks
        self.counters = counters
        self.clock = clock

    def published(self, observers: tuple[Observer, ...], publish: Publish) -> None:
        tell(observers, MessagePublished(**self._facts(publish, publish.qos, publish.retain)))

    def retained(self, publish: Publish) -> None:
        if self.hooks.message_retained:
            tell(self.hooks.message_retained, MessageRetained(**self._facts(publish, publish.qos, True)))

    def queued(self, client: Client, publish: Publish, qos: int, retain: bool) -> None:
        if self.hooks.message_queued:
            facts = self._facts(publish, qos, retain)
            tell(self.hooks.message_queued, MessageQueued(client=client, **facts))

    def delivered(self, client: Client, publish: Publish, qos: int, retain: bool) -> None:
        if self.hooks.message_delivered:
            facts = self._facts(publish, qos, retain)
            tell(self.hooks.message_delivered, MessageDelivered(client=client, **facts))

    def acked(self, client: Client, publish: Publish, qos: int, retain: bool) -> None:
        if self.hooks.message_acked:
            facts = self._facts(publish, qos, retain)
            tell(self.hooks.message_acked, MessageAcked(client=client, **facts))

    def dropped(self, reason: str, publish: Publish, client: Client | None = None) -> None:
        """Count the message as dropped for ``client``, or for all; reasons are those of MessageDropped."""
        self.counters.dropped[reason] += 1
        if self.hooks.message_dropped:
            facts = self._facts(publish, publish.qos, publish.retain)
            tell(self.hooks.message_dropped, MessageDropped(client=client, reason=reason, **facts))

    def _facts(self, publish: Publish, qos: int, retain: bool) -> dict[str, Any]:
        properties = publish.properties
        return {
            "at": self.clock.time(),
            "topic": publish.topic,
            "payload": publish.payload,
            "qos": qos,
            "retain": retain,
            "publisher": publish.source,
            "user_properties": properties.user_properties if properties else (),
            "content_type": properties.content_type if properties else None,
            "properties": properties,
        }
