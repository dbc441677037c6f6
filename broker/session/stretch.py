"""Messages for one session that came in one read and are alike: handled as one where that is possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..packets.model import Publish, PublishRun
from .inflight import Outgoing

if TYPE_CHECKING:
    from ..events import Client


class Stretch:
    """Messages of QoS 1 or 2, which the session gets as they came in but for the packet identifier. The
    keeper's numbers of them follow each other."""

    __slots__ = ("_publishes", "largest", "number", "run", "source")

    def __init__(self, run: PublishRun, source: Client | None, number: int = 0) -> None:
        self.run = run
        self.source = source
        """Who published them."""
        self.number = number
        """The keeper's, of the first; 0 where there is no keeper."""
        self.largest = run.largest()
        """Bytes of the largest of them as a packet."""
        self._publishes: list[Publish] | None = None

    def __len__(self) -> int:
        return len(self.run.ends)

    def publishes(self) -> list[Publish]:
        """Each by itself, the same objects every time."""
        if self._publishes is None:
            self._publishes = list(self.run)
            for publish in self._publishes:
                publish.source = self.source
        return self._publishes

    def messages(self) -> list[Outgoing]:
        """Each by itself, on its way to one session."""
        qos = self.run.qos
        messages = [Outgoing(publish, qos) for publish in self.publishes()]
        if self.number:
            for number, message in enumerate(messages, self.number):
                message.number = number
        return messages

    def cut(self, start: int, stop: int) -> Stretch:
        """Those from ``start`` up to ``stop``."""
        return Stretch(self.run.cut(start, stop), self.source, self.number + start if self.number else 0)
