"""Which nodes are there, by the signs of life that they send. Pure: the clock is handed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

DEAD_AFTER = 5.0
"""Seconds without a sign of life."""
MAX_LEFT = 1000


@dataclass(slots=True)
class Present:
    """A node that is there."""

    name: str
    instance: int
    """Of its process. A later process of the same name has a higher one, as far as clocks agree."""
    heard: float


class Presence:
    """The other nodes. ``up`` and ``down`` are called with each that comes and goes; the second argument of
    ``down`` says why, and is empty after :meth:`clear`."""

    def __init__(self, up: Callable[[Present], None], down: Callable[[Present, str], None]) -> None:
        self._up = up
        self._down = down
        self._nodes: dict[str, Present] = {}
        self._left: dict[str, int] = {}
        """Processes that have said goodbye: what they sent before may come late."""
        self._looked = 0.0

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def heard(self, name: str, instance: int, now: float) -> Present | None:
        """A sign of life of this process; None where another process is the node of this name."""
        if instance <= self._left.get(name, 0):
            return None
        node = self._nodes.get(name)
        if node is not None and node.instance != instance:
            if instance < node.instance:
                return None
            self._remove(node, "another process has taken its place")
            node = None
        if node is None:
            node = self._nodes[name] = Present(name, instance, now)
            self._up(node)
        node.heard = now
        return node

    def left(self, name: str, instance: int) -> None:
        """The process has said goodbye."""
        self._left.pop(name, None)
        self._left[name] = instance
        if len(self._left) > MAX_LEFT:
            del self._left[next(iter(self._left))]
        node = self._nodes.get(name)
        if node is not None and node.instance == instance:
            self._remove(node, "it has left")

    def look(self, now: float) -> None:
        """To be called every second: find the nodes that are silent. If this process itself was stopped,
        nobody is."""
        stopped = max(0.0, now - self._looked - 2.0) if self._looked else 0.0
        self._looked = now
        for node in list(self._nodes.values()):
            node.heard += stopped
            if now - node.heard > DEAD_AFTER:
                self._remove(node, f"no sign of life for {DEAD_AFTER:g} s")

    def clear(self) -> None:
        """Nobody can be heard any more."""
        for node in list(self._nodes.values()):
            self._remove(node, "")
        self._looked = 0.0

    def _remove(self, node: Present, why: str) -> None:
        del self._nodes[node.name]
        self._down(node, why)
