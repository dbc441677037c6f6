"""Records what happens in the broker since the start or the last reset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..events import ClientDisconnected, MessagePublished
from ..faults.seen import SeenPacket
from ..hooks import Hooks
from .messages import Message, message_of_event
from .webhooks import Webhook, Webhooks

LIMIT = 200_000
"""Packets, and messages, that are kept; beyond it the older half goes."""

Listener = Callable[[Any], None]


class Recorder:
    """Filled on the broker's event loop. The lists are replaced, never shortened, so others may read them."""

    def __init__(self) -> None:
        self.packets: list[SeenPacket] = []
        self.messages: list[Message] = []
        self.webhooks = Webhooks()
        self.webhooks.changed = self._webhook
        self._listeners: dict[type, tuple[Listener, ...]] = {}
        self._count = 0
        self._messages = 0
        self.publishing = False
        """Whether the test itself publishes at this moment."""

    @property
    def happenings(self) -> int:
        """Counts up with everything that is recorded."""
        return self._count

    def attach(self, hooks: Hooks) -> None:
        hooks.observe(MessagePublished, self._published)
        hooks.observe(ClientDisconnected, self._disconnected)

    def listen(self, kind: type, listener: Listener) -> None:
        """Tell ``listener`` of each SeenPacket, Message or Webhook from now on."""
        self._listeners[kind] = (*self._listeners.get(kind, ()), listener)

    def unlisten(self, kind: type, listener: Listener) -> None:
        self._listeners[kind] = tuple(one for one in self._listeners.get(kind, ()) if one is not listener)

    def reset(self) -> None:
        self.packets = []
        self.messages = []
        self.webhooks.clear()

    def packet(self, seen: SeenPacket) -> None:
        """A packet passes."""
        if len(self.packets) >= LIMIT:
            self.packets = self.packets[LIMIT // 2 :]
        self.packets.append(seen)
        self._tell(SeenPacket, seen)

    def _published(self, event: MessagePublished) -> None:
        if len(self.messages) >= LIMIT:
            self.messages = self.messages[LIMIT // 2 :]
        self._messages += 1
        message = message_of_event(event, self.publishing, self._messages)
        self.messages.append(message)
        self._tell(Message, message)

    def _disconnected(self, event: ClientDisconnected) -> None:
        client = event.client
        self.packet(
            SeenPacket(
                at=event.at,
                direction="in",
                client=client.client_id,
                type="CLOSED",
                peer=client.peer,
                listener=client.listener,
                fate=event.reason,
            )
        )

    def _webhook(self, hook: Webhook) -> None:
        self._tell(Webhook, hook)

    def _tell(self, kind: type, item: object) -> None:
        self._count += 1
        for listener in self._listeners.get(kind, ()):
            listener(item)
