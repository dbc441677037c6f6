"""A tree of topic filters by level. The time to find all filters that match a topic depends on its levels,
not on the number of filters."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Node(Generic[K, V]):
    __slots__ = ("below", "here")

    def __init__(self) -> None:
        # Made on first use: most nodes have only one of the two.
        self.below: dict[str, _Node[K, V]] | None = None
        self.here: dict[K, V] | None = None


class Trie(Generic[K, V]):
    """Has a map from key to value for each topic filter, such as session to subscription."""

    def __init__(self) -> None:
        self._root: _Node[K, V] = _Node()
        self._count = 0

    def __len__(self) -> int:
        """The number of (filter, key) pairs."""
        return self._count

    def set(self, topic_filter: str, key: K, value: V) -> V | None:
        """Store ``value``. Returns the value that ``key`` had under this filter before."""
        node = self._root
        for level in topic_filter.split("/"):
            if node.below is None:
                node.below = {}
            nxt = node.below.get(level)
            if nxt is None:
                nxt = node.below[level] = _Node()
            node = nxt
        if node.here is None:
            node.here = {}
        before = node.here.get(key)
        if before is None:
            self._count += 1
        node.here[key] = value
        return before

    def get(self, topic_filter: str, key: K) -> V | None:
        return self.at(topic_filter).get(key)

    def at(self, topic_filter: str) -> Mapping[K, V]:
        """The values of all keys under exactly this filter. Read the map, do not keep it."""
        node: _Node[K, V] | None = self._root
        for level in topic_filter.split("/"):
            node = node.below.get(level) if node and node.below else None
            if node is None:
                return {}
        return (node.here or {}) if node else {}

    def remove(self, topic_filter: str, key: K) -> bool:
        """Remove the value of ``key`` under this filter; False if there was none."""
        path: list[tuple[_Node[K, V], str]] = []
        node = self._root
        for level in topic_filter.split("/"):
            nxt = node.below.get(level) if node.below else None
            if nxt is None:
                return False
            path.append((node, level))
            node = nxt
        if not node.here or key not in node.here:
            return False
        del node.here[key]
        self._count -= 1
        if not node.here:
            node.here = None
        for parent, level in reversed(path):
            if node.here or node.below:
                break
            assert parent.below is not None
            del parent.below[level]
            if not parent.below:
                parent.below = None
            node = parent
        return True

    def match(self, topic: str) -> list[dict[K, V]]:
        """The map of each filter that matches ``topic``. Read the maps, do not keep or change them."""
        levels = topic.split("/")
        last = len(levels)
        found: list[dict[K, V]] = []
        # [MQTT-4.7.2-1] a wildcard at the start does not match a topic that begins with $
        wild = topic[:1] != "$"
        branches = [(self._root, 0)]
        while branches:
            node, depth = branches.pop()
            while True:
                below = node.below
                usable = wild or depth > 0
                if below is not None and usable and (rest := below.get("#")) is not None and rest.here:
                    found.append(rest.here)
                if depth == last:
                    if node.here:
                        found.append(node.here)
                    break
                if below is None:
                    break
                if usable and (any_level := below.get("+")) is not None:
                    branches.append((any_level, depth + 1))
                exact = below.get(levels[depth])
                if exact is None:
                    break
                node, depth = exact, depth + 1
        return found

    def items(self) -> Iterator[tuple[str, K, V]]:
        """Every (filter, key, value)."""
        stack = [("", self._root)]
        while stack:
            prefix, node = stack.pop()
            for level, nxt in (node.below or {}).items():
                topic_filter = level if node is self._root else f"{prefix}/{level}"
                for key, value in (nxt.here or {}).items():
                    yield topic_filter, key, value
                stack.append((topic_filter, nxt))
