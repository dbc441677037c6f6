"""What a node knows of each session that is on its way to it, or to another node."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..engine.claims import Refusal
from .moves import Kind, Message, Timer

Then = Callable[[Refusal | None], None]
"""Called once: None when the session, or the right to make one, is here."""


class Waiter:
    """A CONNECT that waits for its session."""

    __slots__ = ("clean", "then", "timer")

    def __init__(self, then: Then, clean: bool) -> None:
        self.then = then
        self.clean = clean
        self.timer: Timer | None = None


class Pull(NamedTuple):
    """Another node has claimed the client."""

    node: str
    epoch: int
    clean: bool


class Arrival:
    """A session on its way here, or a client of which it is not known yet where its session is."""

    __slots__ = (
        "brought",
        "clean",
        "client_id",
        "epoch",
        "next",
        "ready",
        "settles",
        "shut",
        "source",
        "sources",
        "switched",
        "told",
        "tries",
        "unmarked",
        "waiter",
    )

    def __init__(self, client_id: str, clean: bool) -> None:
        self.client_id = client_id
        self.clean = clean
        self.waiter: Waiter | None = None
        self.tries = 0
        self.epoch = 0
        """Of our claim; 0 until it is granted."""
        self.sources: list[str] = []
        """Nodes that may have the session and are not asked yet."""
        self.source = ""
        """The node that is asked."""
        self.switched = False
        self.told: set[str] = set()
        """Nodes that were told to switch."""
        self.unmarked: set[str] = set()
        """Those that have not answered."""
        self.shut: set[str] = set()
        """Nodes whose messages the session does not take yet: those that have not answered, dead ones too."""
        self.ready = False
        """Whether READY was sent; again where a node is lost."""
        self.brought = False
        """Whether all of STATE is here."""
        self.settles = False
        """Whether all that was under way is here."""
        self.next: Pull | None = None
        """Who has claimed the client after us."""


class Departure:
    """A session on its way to another node."""

    __slots__ = ("drained", "epoch", "left", "marks", "next", "node", "told")

    def __init__(self, node: str, epoch: int) -> None:
        self.node = node
        self.epoch = epoch
        self.marks: set[str] = set()
        """Nodes that have switched."""
        self.told: set[str] | None = None
        """Those that were told to; None until READY."""
        self.drained = False
        self.left = False
        """Whether STATE is being sent."""
        self.next: Pull | None = None
        """A later claim, by a node that asks all."""


class Late(NamedTuple):
    """Nodes that were taken for dead when a session arrived: it does not take what they had sent before."""

    switch: Message
    nodes: set[str]


def switch_of(arrival: Arrival) -> Message:
    return Message(Kind.SWITCH, arrival.client_id, arrival.epoch, nodes=(arrival.source,))
