"""The changes since the spool's last commit, which the next commit writes."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..parcels import Delivery
from .store import DeadLetter


@dataclass(slots=True)
class Changes:
    """The changes of the next commit."""

    puts: dict[int, Delivery] = field(default_factory=dict)
    """New events that still wait, by their numbers, oldest first."""
    gone: list[int] = field(default_factory=list)
    """The numbers of events of earlier commits that no longer wait."""
    dead: list[DeadLetter] = field(default_factory=list)
    unjournaled: set[int] = field(default_factory=set)
    """The ``puts`` that did not fit into the journal; they are only in memory."""
    unjournaled_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.puts or self.gone or self.dead)

    def put(self, delivery: Delivery, journaled: bool) -> None:
        self.puts[delivery.seq] = delivery
        if not journaled:
            self.unjournaled.add(delivery.seq)
            self.unjournaled_bytes += delivery.size

    def forget(self, delivery: Delivery) -> None:
        """The event no longer waits."""
        seq = delivery.seq
        if self.puts.pop(seq, None) is None:
            self.gone.append(seq)
        elif seq in self.unjournaled:
            self.unjournaled.remove(seq)
            self.unjournaled_bytes -= delivery.size


class Commit:
    """Changes on their way to the database; nothing is added any more."""

    __slots__ = ("dead", "generation", "gone", "puts", "unjournaled")

    def __init__(self, changes: Changes, generation: int) -> None:
        self.puts = list(changes.puts.values())
        self.gone = changes.gone
        self.dead = changes.dead
        self.unjournaled = changes.unjournaled
        self.generation = generation
        """The journal's that ends with it."""
