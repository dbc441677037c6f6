"""Queues of events that wait in memory for their first try, with or without an order.

A queue hands out events with ``take``. Events of one key come one after another: a taken event blocks its key
until ``finished``. The backlog bounds the queue.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ..parcels import Delivery

BATCH_BYTES = 4 << 20
"""A batch takes no more events once it has as many bytes; its body is copied in one go."""


class Queue(Protocol):
    def __len__(self) -> int:
        """The number of waiting events."""

    @property
    def available(self) -> int:
        """The number of events that may be taken now."""

    @property
    def oldest(self) -> Delivery | None:
        """The event that has waited longest."""

    def put(self, delivery: Delivery) -> None:
        """Add the event at the end."""

    def take(self, limit: int) -> list[Delivery]:
        """Remove and return up to ``limit`` events, or BATCH_BYTES of them, that may go now; empty if there
        are none."""

    def lane(self, delivery: Delivery) -> str | None:
        """The key whose events keep their order with this one; None without an order."""

    def finished(self, taken: Sequence[Delivery]) -> None:
        """A taken event is settled: the next of its key may be taken."""

    def drop_oldest(self) -> Delivery | None:
        """Remove and return the event that has waited longest; None when nothing waits."""

    def clear(self) -> list[Delivery]:
        """Remove and return everything, oldest first."""


class FifoQueue:
    """A queue without order: every event may go at once."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def available(self) -> int:
        return len(self._waiting)

    @property
    def oldest(self) -> Delivery | None:
        return self._waiting[0] if self._waiting else None

    def put(self, delivery: Delivery) -> None:
        self._waiting.append(delivery)

    def take(self, limit: int) -> list[Delivery]:
        waiting = self._waiting
        taken: list[Delivery] = []
        size = 0
        while waiting and len(taken) < limit and size < BATCH_BYTES:
            delivery = waiting.popleft()
            size += len(delivery.body)
            taken.append(delivery)
        return taken

    def lane(self, delivery: Delivery) -> None:
        """None: a queue without order has no lanes."""

    def finished(self, taken: Sequence[Delivery]) -> None:
        """Does nothing: no event waits for another."""

    def drop_oldest(self) -> Delivery | None:
        taken = self.take(1)
        return taken[0] if taken else None

    def clear(self) -> list[Delivery]:
        everything = list(self._waiting)
        self._waiting.clear()
        return everything


class KeyedQueue:
    """A queue with an order: each key is a lane, and an event of a lane may go when the one before it is
    settled."""

    __slots__ = ("_all", "_available", "_key", "_lanes", "_ready")

    def __init__(self, key: Callable[[Delivery], str]) -> None:
        self._key = key
        self._lanes: dict[str, deque[Delivery]] = {}
        """Every lane with waiting events or with some in flight."""
        self._ready: OrderedDict[str, None] = OrderedDict()
        """The lanes whose first event may go, longest ready first."""
        self._all: OrderedDict[int, Delivery] = OrderedDict()
        self._available = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def available(self) -> int:
        return self._available

    @property
    def oldest(self) -> Delivery | None:
        return next(iter(self._all.values()), None)

    def put(self, delivery: Delivery) -> None:
        key = self._key(delivery)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = deque()
            self._ready[key] = None
        lane.append(delivery)
        if key in self._ready:
            self._available += 1
        self._all[delivery.seq] = delivery

    def take(self, limit: int) -> list[Delivery]:
        taken: list[Delivery] = []
        size = 0
        while self._ready and len(taken) < limit and size < BATCH_BYTES:
            key, _ = self._ready.popitem(last=False)
            lane = self._lanes[key]
            self._available -= len(lane)
            while lane and len(taken) < limit and size < BATCH_BYTES:
                delivery = lane.popleft()
                size += len(delivery.body)
                taken.append(delivery)
        for delivery in taken:
            del self._all[delivery.seq]
        return taken

    def lane(self, delivery: Delivery) -> str:
        return self._key(delivery)

    def finished(self, taken: Sequence[Delivery]) -> None:
        for key in {self._key(d) for d in taken}:
            lane = self._lanes[key]
            if lane:
                self._ready[key] = None
                self._available += len(lane)
            else:
                del self._lanes[key]

    def drop_oldest(self) -> Delivery | None:
        if not self._all:
            return None
        _, delivery = self._all.popitem(last=False)
        key = self._key(delivery)
        lane = self._lanes[key]
        lane.popleft()  # the oldest of all is the oldest of its lane
        if key in self._ready:
            self._available -= 1
            if not lane:
                del self._ready[key], self._lanes[key]
        return delivery

    def clear(self) -> list[Delivery]:
        everything = list(self._all.values())
        for key in list(self._ready):
            del self._ready[key], self._lanes[key]
        for lane in self._lanes.values():
            lane.clear()
        self._all.clear()
        self._available = 0
        return everything


def queue_for(order: str) -> Queue:
    """``none``, ``client`` or ``topic``: what keeps its order over retries."""
    if order == "client":
        return KeyedQueue(lambda d: d.client)
    if order == "topic":
        # Events without a topic keep the order of their client.
        return KeyedQueue(lambda d: d.topic if d.topic is not None else "\0" + d.client)
    return FifoQueue()
