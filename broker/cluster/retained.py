"""Retained messages: each node has all of them; of two for one topic the later one stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from math import inf
from typing import TYPE_CHECKING

from ..delivery.neighbour import as_it_came
from ..engine.engine import Engine
from ..packets.model import Publish
from . import records

if TYPE_CHECKING:
    from .peer import Peer

FROM_DISK = 1
"""The stamp of a message that was there at the start; 0 is that of none."""
GONE_FOR = 60.0
"""Seconds for which it is remembered when a topic was cleared: what is older arrives sooner."""
AHEAD = 4 << 20
"""Bytes that are sent at once to a node that knows none."""


class RetainedCopies:
    """Watches the engine's retained messages, and keeps them the same on all nodes."""

    def __init__(self, engine: Engine, name: str, tell: Callable[[bytes], None], *, owns: bool) -> None:
        self._engine = engine
        self._mark = int.from_bytes(blake2b(name.encode(), digest_size=4).digest())
        """Tells the stamps of two nodes apart that are of one moment."""
        self._tell = tell
        self.knows = owns
        """Whether this node has all messages: it tells them to one that comes."""
        self._stamps: dict[str, int] = {}
        self._expire: dict[str, float] = {}
        """When messages expire, each node by itself."""
        self._gone: dict[str, tuple[int, float]] = {}
        """When topics were cleared: stamp, and time."""
        self._last = 0
        self._applies = False
        self._told: set[str] = set()
        self._waiting: list[Peer] = []
        """Nodes that came before this one knew all."""

    def start(self) -> None:
        self._engine.retained.watchers = (*self._engine.retained.watchers, self._changed)

    def tell_all(self, peer: Peer) -> None:
        """Send the node all messages, as fast as it takes them."""
        if self.knows:
            self._go_on(peer, peer.link.peer, self._each(peer))
        elif peer not in self._waiting:
            self._waiting.append(peer)

    def take_own(self) -> None:
        """Nobody else has any: what is here counts."""
        if not self.knows:
            self.knows = True
            waiting, self._waiting = self._waiting, []
            for peer in waiting:
                self.tell_all(peer)

    def told(self, body: bytes) -> None:
        engine = self._engine
        stamp, publish = records.read_retained(body, self._epoch)
        topic = publish.topic
        self._told.add(topic)
        self._last = max(self._last, stamp)
        known = self._stamp_of(topic)
        if stamp < known or (stamp == known and not self._is_preferred(publish)):
            return
        self._note(topic, stamp, publish)
        self._applies = True
        try:
            if not engine.retained.set(topic, publish):
                engine.counters.limited["max_retained"] += 1
        finally:
            self._applies = False

    def told_gone(self, body: bytes) -> None:
        stamp, topic = records.read_unretained(body)
        self._last = max(self._last, stamp)
        if stamp > self._stamp_of(topic):
            self._remove(topic, stamp)

    def all_told(self) -> Iterator[None]:
        """Another node has told all: what is here of an earlier run, and not there, is no more."""
        told, self._told = self._told, set()
        if self.knows:
            return
        for topic in list(self._engine.retained):
            if topic not in told and self._stamps.get(topic, FROM_DISK) == FROM_DISK:
                self._remove(topic, FROM_DISK)
            yield
        self.take_own()

    def tick(self) -> None:
        if self._gone:
            long_ago = self._engine.clock.monotonic() - GONE_FOR
            for topic in [topic for topic, (_, at) in self._gone.items() if at < long_ago]:
                del self._gone[topic]

    @property
    def _epoch(self) -> float:
        return self._engine.clock.time() - self._engine.clock.monotonic()

    def _stamp_of(self, topic: str) -> int:
        if topic in self._gone:
            return self._gone[topic][0]
        stamp = self._stamps.get(topic, 0)
        if not stamp and self._engine.retained.get(topic) is not None:
            return FROM_DISK
        return stamp

    def _is_preferred(self, publish: Publish) -> bool:
        """Of two messages from disk nobody knows which is later. All nodes keep the same of them."""
        own = self._engine.retained.get(publish.topic)
        return own is not None and as_it_came(publish) > as_it_came(own)

    def _changed(self, topic: str, publish: Publish | None) -> None:
        """By one of our own clients, or because it has expired."""
        if self._applies:
            return
        if publish is None:
            self._cleared(topic)
            return
        stamp = self._next_stamp()
        self._note(topic, stamp, publish)
        self._tell(records.retained(publish, as_it_came(publish), stamp, self._epoch))

    def _note(self, topic: str, stamp: int, publish: Publish) -> None:
        self._stamps[topic] = stamp
        self._gone.pop(topic, None)
        if publish.expires_at is not None:
            self._expire[topic] = publish.expires_at
        else:
            self._expire.pop(topic, None)

    def _cleared(self, topic: str) -> None:
        if self._expire.pop(topic, inf) <= self._engine.clock.monotonic():
            self._stamps.pop(topic, None)
            return  # the others see that, too
        stamp = self._next_stamp()
        self._stamps.pop(topic, None)
        self._gone[topic] = stamp, self._engine.clock.monotonic()
        self._tell(records.unretained(topic, stamp))

    def _remove(self, topic: str, stamp: int) -> None:
        self._applies = True
        try:
            self._engine.retained.remove(topic)
        finally:
            self._applies = False
        self._stamps.pop(topic, None)
        self._expire.pop(topic, None)
        self._gone[topic] = stamp, self._engine.clock.monotonic()

    def _next_stamp(self) -> int:
        """Later than all that this node has seen: the time in microseconds, and the mark of the node."""
        now = int(self._engine.clock.time() * 1_000_000) << 32
        self._last = max((self._last | 0xFFFFFFFF) + 1, now) | self._mark
        return self._last

    def _each(self, peer: Peer) -> Iterator[None]:
        engine = self._engine
        for topic in list(engine.retained):
            publish = engine.retained.get(topic)
            if publish is not None:
                stamp = self._stamp_of(topic) or FROM_DISK
                peer.tell(records.retained(publish, as_it_came(publish), stamp, self._epoch))
            yield
        peer.tell(records.pack(records.ALL_RETAINED, b""))

    def _go_on(self, peer: Peer, incarnation: int, steps: Iterator[None]) -> None:
        if peer.link.peer != incarnation:
            return  # another one came; it is told on its own
        turns = self._engine.turns
        done = turns.take(steps)
        self._engine.flush()
        if not done and peer.link.held > AHEAD:
            peer.link.when_done(lambda: self._go_on(peer, incarnation, steps))
        elif not done:
            turns.later(lambda: self._go_on(peer, incarnation, steps))
