"""The backlog of an endpoint's waiting events: its bounds, and overflow. This one is in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from ..backend import Outcome
from ..complaints import Complaints
from ..metrics import Counters
from ..parcels import Delivery
from ..settings import WebhookSettings
from .queue import Queue

Announce = Callable[[int], None]
"""Called with the number of events that have been added to the queue."""


def new_id_prefix() -> str:
    """The prefix that makes the identifiers of this run unique."""
    return f"msg_{secrets.token_hex(8)}_"


class Backlog(Protocol):
    """The waiting events of an endpoint."""

    next_seq: int
    """The number of the next event."""
    id_prefix: str
    """The prefix of ``webhook-id``; the event's number follows."""
    spooled_bytes: int
    dead_letters: int

    @property
    def oldest_held(self) -> Delivery | None:
        """The oldest event that is not in the queue yet."""

    async def open(self) -> None:
        """Open the backlog; events of an earlier run wait again. Raises SpoolError."""

    def has_room(self) -> bool:
        """Make room for one more event according to ``overflow``. False if there is no room; the event is
        then counted and reported."""

    def add(self, delivery: Delivery) -> None:
        """Add the event."""

    def delivered(self, items: Sequence[Delivery]) -> None:
        """The endpoint has received the events."""

    def died(self, items: Sequence[Delivery], outcome: Outcome, expired: bool) -> None:
        """The events will not be tried again."""

    def serve(self, settings: WebhookSettings, queue: Queue, announce: Announce) -> None:
        """Use another queue from now on; the events in memory were already moved there."""

    async def close(self) -> int:
        """Save the waiting events if possible; returns how many are lost."""


class MemoryBacklog:
    """A queue in memory, bounded by count and bytes. Events that wait when the process ends are lost."""

    def __init__(
        self,
        settings: WebhookSettings,
        queue: Queue,
        counters: Counters,
        complaints: Complaints,
        announce: Announce,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._counters = counters
        self._complaints = complaints
        self._announce = announce
        self.id_prefix = new_id_prefix()
        self.next_seq = 1
        self.spooled_bytes = self.dead_letters = 0

    @property
    def oldest_held(self) -> Delivery | None:
        return None

    async def open(self) -> None:
        """Does nothing: memory is always ready."""

    def has_room(self) -> bool:
        settings, counters = self._settings, self._counters
        while (
            counters.queued >= settings.queue_max_events or counters.queued_bytes >= settings.queue_max_bytes
        ):
            counters.dropped_full += 1
            oldest = self._queue.drop_oldest() if settings.overflow == "drop_oldest" else None
            if oldest is None:
                self._complaints.warn(
                    "full", f"the queue is full ({counters.queued} events): a new event is lost"
                )
                return False
            counters.queued -= 1
            counters.queued_bytes -= oldest.size
            self._complaints.warn(
                "full", f"the queue is full ({counters.queued} events): the oldest event is lost"
            )
        return True

    def add(self, delivery: Delivery) -> None:
        self._counters.queued += 1
        self._counters.queued_bytes += delivery.size
        self._queue.put(delivery)
        self._announce(1)

    def delivered(self, items: Sequence[Delivery]) -> None:
        """Does nothing: the events are already removed."""

    def died(self, items: Sequence[Delivery], outcome: Outcome, expired: bool) -> None:
        if expired:
            self._counters.dropped_expired += len(items)
        else:
            self._counters.dead += len(items)

    def serve(self, settings: WebhookSettings, queue: Queue, announce: Announce) -> None:
        self._settings, self._queue, self._announce = settings, queue, announce

    async def close(self) -> int:
        return self._counters.queued
