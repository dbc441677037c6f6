"""Alike messages of one read for one session, handled together if possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..packets.model import Publish, PublishRun
from .inflight import Outgoing

if TYPE_CHECKING:
    from ..events import Client


class Stretch:
    """Messages of QoS 1 or 2 that the session gets as they were received, except for the packet identifier.
    The numbers that the keeper gives them are consecutive."""

    __slots__ = ("_publishes", "largest", "number", "run", "source")

    def __init__(self, run: PublishRun, source: Client | None, number: int = 0) -> None:
        self.run = run
        self.source = source
        """Who published them."""
        self.number = number
        """The keeper's number of the first message; 0 if there is no keeper."""
        self.largest = run.largest()
        """The size of the largest packet, in bytes."""
        self._publishes: list[Publish] | None = None

    def __len__(self) -> int:
        return len(self.run.ends)

    def publishes(self) -> list[Publish]:
        """The single messages, the same objects every time."""
        if self._publishes is None:
            self._publishes = list(self.run)
            for publish in self._publishes:
                publish.source = self.source
        return self._publishes

    def messages(self) -> list[Outgoing]:
        """The single messages, for one session."""
        qos = self.run.qos
        messages = [Outgoing(publish, qos) for publish in self.publishes()]
        if self.number:
            for number, message in enumerate(messages, self.number):
                message.number = number
        return messages

    def cut(self, start: int, stop: int) -> Stretch:
        """The messages from ``start`` up to ``stop``."""
        return Stretch(self.run.cut(start, stop), self.source, self.number + start if self.number else 0)
