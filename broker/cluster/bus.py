"""What carries frames between the nodes of one broker: unix sockets, NATS, or memory in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Transmit = Callable[[bytes], None]
"""Sends one frame to a node. What is sent while the way there is broken is lost."""


class Node(Protocol):
    """Who is at this end of the bus."""

    def up(self, peer: str, transmit: Transmit) -> None:
        """There is a way to this node, from now on by ``transmit``."""

    def down(self, peer: str) -> None:
        """There is none any more; frames on their way may be lost."""

    def received(self, peer: str, frame: bytes) -> None:
        """A frame, whole. Those of one node come in the order in which they were sent; some may be missing
        where the way was broken."""

    def alone(self, is_alone: bool) -> None:
        """The bus itself is broken, so that no node can be reached; or it works again."""


class Bus(Protocol):
    """Finds the other nodes, and again those that come back."""

    async def open(self, node: Node) -> None:
        """Be found, and look for the others from now on. Raises OSError."""

    async def close(self) -> None: ...
