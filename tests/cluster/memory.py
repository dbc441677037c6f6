"""A bus in memory: frames wait until they are delivered by hand, and can be lost. And a directory."""

from __future__ import annotations

from collections import deque

from pybroker.broker.cluster.bus import Node
from pybroker.broker.cluster.directory import Answer, Owner, Then


class Ways:
    """All nodes' ways to each other."""

    def __init__(self) -> None:
        self._nodes: dict[int, Node] = {}
        self._frames: dict[tuple[int, int], deque[bytes]] = {}
        self._open: set[frozenset[int]] = set()
        self.delivered = 0

    def bus(self, index: int) -> MemoryBus:
        return MemoryBus(self, index)

    def enter(self, index: int, node: Node) -> None:
        self._nodes[index] = node
        for other in list(self._nodes):
            if other != index:
                self.join(index, other)

    def leave(self, index: int) -> None:
        """The node is dead: what it has sent arrives, what is for it does not."""
        for other in list(self._nodes):
            if other != index:
                while self.deliver_one(index, other):
                    pass
                self.cut(index, other)
        self._nodes.pop(index, None)

    def join(self, one: int, other: int) -> None:
        pair = frozenset((one, other))
        if pair in self._open:
            return
        self._open.add(pair)
        for source, target in ((one, other), (other, one)):
            self._frames[source, target] = deque()
        for source, target in ((one, other), (other, one)):
            frames = self._frames[source, target]
            self._nodes[source].up(str(target), frames.append)

    def cut(self, one: int, other: int) -> None:
        """The way is broken, and frames on it are lost."""
        pair = frozenset((one, other))
        if pair not in self._open:
            return
        self._open.discard(pair)
        for source, target in ((one, other), (other, one)):
            del self._frames[source, target]
            if source in self._nodes:
                self._nodes[source].down(str(target))

    def lose(self, source: int, target: int) -> bool:
        """The next frame is lost; whether there was any."""
        frames = self._frames.get((source, target))
        if frames:
            frames.popleft()
        return bool(frames)

    def deliver_one(self, source: int, target: int) -> bool:
        frames = self._frames.get((source, target))
        if not frames:
            return False
        self.delivered += 1
        self._nodes[target].received(str(source), frames.popleft())
        return True

    def deliver(self) -> None:
        """Until nothing is under way."""
        while any(self.deliver_one(*way) for way in list(self._frames)):
            pass

    def waiting(self, source: int, target: int) -> int:
        return len(self._frames.get((source, target), ()))


class MemoryBus:
    """One node's end."""

    def __init__(self, ways: Ways, index: int) -> None:
        self._ways = ways
        self._index = index

    async def open(self, node: Node) -> None:
        self._ways.enter(self._index, node)

    async def close(self) -> None:
        self._ways.leave(self._index)


class MemoryDirectory:
    """The owners of sessions, for nodes of one process."""

    def __init__(self) -> None:
        self.owners: dict[str, Owner] = {}
        self.available = True
        self._epoch = 0

    def claim(self, client_id: str, node: str, over: Owner | None, then: Then) -> None:
        if not self.available:
            then(None)
        elif self.owners.get(client_id) != over:
            then(Answer(False, self.owners.get(client_id)))
        else:
            self._epoch += 1
            owner = self.owners[client_id] = Owner(node, self._epoch)
            then(Answer(True, owner))

    def read(self, client_id: str, then: Then) -> None:
        then(Answer(False, self.owners.get(client_id)) if self.available else None)

    def release(self, client_id: str, owner: Owner) -> None:
        if self.available and self.owners.get(client_id) == owner:
            del self.owners[client_id]
