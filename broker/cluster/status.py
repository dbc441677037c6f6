"""What a node knows of all nodes, for people who ask how they are. Nobody is asked: each node tells the
others its numbers every second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .node import Node

SILENT_AFTER = 5.0
"""Seconds without a word after which a node does not answer; each says something every second."""


def status_of_all(node: Node, title: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """This node and then the others, by name. ``title`` makes the name for people of a node's name.

    Each has ``name``, ``answers``, ``silent_for`` (seconds since its last word), ``up_since`` (seconds since
    the epoch) and ``waiting_bytes`` (what the other nodes hold for it), and then its own numbers as of that
    last word; a node that was never heard has none of these.
    """
    now = node.engine.clock.monotonic()
    said = {node.name: node.measured(), **{name: peer.numbers for name, peer in sorted(node.peers.items())}}
    waiting: Counter[str] = Counter()
    for numbers in said.values():
        waiting.update(numbers.get("waiting", {}))
    found = []
    for name, numbers in said.items():
        peer = node.peers.get(name)
        silent_for = 0.0 if peer is None else now - peer.heard_at
        answers = peer is None or (peer.down_since is None and silent_for < SILENT_AFTER)
        found.append(
            {
                "name": title(name),
                "answers": answers,
                "silent_for": round(silent_for, 3),
                "up_since": numbers.get("started"),
                "waiting_bytes": waiting[name],
                **numbers.get("overview", {}),
            }
        )
    return found
