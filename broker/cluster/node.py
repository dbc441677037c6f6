"""One node of a broker of many: what the engine asks of the others, and what the bus says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ..delivery.outbox import Outbox
from ..engine.engine import Engine
from ..routing.router import ManyReceiversError, UnansweredError
from ..routing.topics import SHARE
from ..session.session import Session
from . import records
from .bus import Transmit
from .directory import Directory
from .held import HeldAnswers
from .incoming import Incoming, Matter
from .link import ACKNOWLEDGED_TOGETHER, MOST_HELD
from .own_routes import OwnRoutes
from .peer import Peer
from .retained import RetainedCopies
from .session_moves import SessionMoves

TICK = 1.0
SOON = 0.1
"""Seconds until the others know of a change in the number of clients."""
ROUTES_PATIENCE = 1.0
"""Seconds that SUBACK waits for nodes that do not answer."""
DEAD_AFTER = 5.0
FORGOTTEN_AFTER = 30.0
"""Seconds without a node, or one in its place, after which what waits for it is given up."""


class Node:
    """Ties an engine to the other nodes: a bus calls :meth:`up`, :meth:`down`, :meth:`received` and
    :meth:`alone`."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        incarnation: int,
        *,
        others: Iterable[str] | None = None,
        is_mine: Callable[[str], bool] | None = None,
        owns_retained: bool = True,
        keeps: bool = False,
        refuses_alone: bool = False,
        measure: Callable[[], dict[str, Any]] = dict,
        directory: Directory | None = None,
        dead_after: float = DEAD_AFTER,
    ) -> None:
        """``others``: the names of all other nodes, where these are always the same; None: nodes join and
        leave. ``is_mine``: whether the session of a client identifier belongs here; by default that of any
        may. ``owns_retained``: the retained messages that are here count; else those of the others do.
        ``keeps``: what is acknowledged is safe from a crash, so acknowledgements wait for the nodes that
        have to keep a message. ``refuses_alone``: no client may connect while the bus is broken, or
        ``directory`` does not answer. ``directory``: sessions move to the node that their client connects to;
        None: they do not. ``dead_after``: seconds after which a node that the bus has lost has no session any
        more."""
        self.name = name
        self.full = False
        self.engine = engine
        self._incarnation = incarnation
        self._fixed = others is not None
        self._is_mine = is_mine
        self._keeps = keeps
        self._refuses_alone = refuses_alone
        self._held = HeldAnswers(engine) if keeps else None
        self._measure = measure
        self._said: dict[str, Any] = {}
        """Our numbers as the others know them."""
        self._numbers_due = False
        self.is_alone = False
        """Whether the bus is broken, so that nobody can be reached."""
        self.peers: dict[str, Peer] = {}
        self.retained = RetainedCopies(engine, name, self._tell_everyone, owns=owns_retained)
        self._incoming = Incoming(engine, self.peers, self.retained, one_limit=self._fixed)
        self._routes = OwnRoutes(
            engine, self.peers, self._tell_everyone, group_gone=self._incoming.forget_turn
        )
        self._dead_after = dead_after
        self._moves: SessionMoves | None = None
        if directory is not None:
            self._moves = self._incoming.moves = SessionMoves(
                engine,
                name,
                self.peers,
                directory,
                shut=self._incoming.shut,
                flush_routes=self._routes.flush,
                serves_alone=not refuses_alone,
            )
        for other in others or ():
            self.peers[other] = self._peer(other)
        engine.neighbours = self
        engine.router.changed = self._routes.changed
        self._stopped = False

    @property
    def is_ready(self) -> bool:
        """Whether all others are there, and this one knows what they do."""
        return self.retained.knows and all(peer.link.is_up for peer in self.peers.values())

    @property
    def is_first(self) -> bool:
        """Whether this node does what one node of all has to do."""
        return all(peer.down_since is not None or self.name < name for name, peer in self.peers.items())

    @property
    def reachable(self) -> int:
        """How many other nodes are there."""
        return sum(peer.down_since is None for peer in self.peers.values())

    def start(self) -> None:
        """Begin what is done by the clock. To be called when what an earlier run has left is there."""
        self.retained.start()
        for session in self.engine.sessions:
            for topic_filter in session.subscriptions:
                self._routes.changed(session, topic_filter)
        if self._moves is not None:
            self._moves.start()
        self.engine.flush()
        self._tick()

    def stop(self) -> None:
        self._stopped = True
        self.engine.neighbours = self.engine.claims = None
        self.engine.router.changed = None

    # What the engine asks (`engine.Neighbours`).

    def is_mine(self, client_id: str) -> bool:
        return self._is_mine is None or self._is_mine(client_id)

    @property
    def refuses(self) -> bool:
        return self.is_alone and self._refuses_alone

    def moved(self, session: Session) -> None:
        for topic_filter in session.subscriptions:
            if topic_filter.startswith(SHARE):
                self._routes.changed(session, topic_filter)
        if not self._numbers_due:
            self._numbers_due = True
            clock = self.engine.clock
            clock.call_at(clock.monotonic() + SOON, self._tell_numbers)

    def numbers(self) -> Iterable[Mapping[str, Any]]:
        return [found for peer in self.peers.values() if (found := peer.numbers.get("overview"))]

    def sys_values(self) -> list[dict[str, str]]:
        """The topics of `$SYS` of the others."""
        return [found for peer in self.peers.values() if (found := peer.numbers.get("sys"))]

    def holds(self, outbox: Outbox, answers: bytes) -> bool:
        return self._held is not None and self._held.hold(outbox, answers, self.peers.values())

    def routes_known(self) -> Awaitable[Any] | None:
        self._routes.flush()
        waits = [peer for peer in self.peers.values() if peer.link.is_up]
        for peer in waits:
            peer.session.flush()
            peer.link.flush()
        return _when_all(self.engine, waits, ROUTES_PATIENCE)

    def concerned(self, topic: str) -> Awaitable[Any] | None:
        if not self.full:
            return None
        try:
            route = self.engine.router.route(topic)
        except UnansweredError:
            return None  # it will be asked again
        except ManyReceiversError:  # some of so many may be there
            full = [peer.room for peer in self.peers.values() if peer.room is not None]
            return full[0].wait() if full else None
        concerned = {target.session.elsewhere for target in route.targets}
        for share in route.groups:
            concerned.update(session.elsewhere for session, _ in share.members)
        for peer in self.peers.values():
            if peer.room is not None and peer.session in concerned:
                return peer.room.wait()
        return None

    def share(self, name: str, matter: Matter) -> None:
        """Have this in common with the other nodes, which share it by the same name."""
        self._incoming.matters[name] = matter

    def say(self, name: str, value: Any) -> None:
        """Tell all nodes something about this matter, with the engine's next flush."""
        self._tell_everyone(records.said(name, value))

    # What the bus calls.

    def up(self, peer: str, transmit: Transmit) -> None:
        if peer not in self.peers:
            self.peers[peer] = self._peer(peer)
        self.peers[peer].link.up(transmit)

    def down(self, peer: str) -> None:
        one = self.peers[peer]
        one.link.down()
        if one.down_since is None:
            one.down_since = self.engine.clock.monotonic()
            one.look_again()

    def received(self, peer: str, frame: bytes) -> None:
        one = self.peers[peer]
        one.heard_at = self.engine.clock.monotonic()
        one.link.received(frame, one.heard_at)
        if one.link.is_up and one.down_since is not None:
            one.down_since = None
            one.look_again()
            if self._moves is not None:
                self._moves.returned(peer)
        if one.room is not None and one.link.held < MOST_HELD // 2:
            self._has_room(one)
        self._incoming.work(one)
        self.engine.flush()

    def alone(self, is_alone: bool) -> None:
        self.is_alone = is_alone
        now = self.engine.clock.monotonic()
        for peer in self.peers.values():
            if peer.down_since is not None:  # those that are there have as long as ever to say so
                peer.down_since = now
        if self._moves is not None:
            self._moves.alone(is_alone)
            self.engine.flush()

    # What is told.

    def _peer(self, name: str) -> Peer:
        # Should it have been removed, it may still know the link that was there before: this is another.
        self._incarnation += 2
        peer = Peer(self.engine, name, self._incarnation)
        peer.session.keeps = self._keeps
        peer.when_full = self._set_full
        link = peer.link
        link.handle = lambda number, batch: peer.inbox.append((number, batch))
        link.together = ACKNOWLEDGED_TOGETHER if self._held is None else 1
        link.reset = partial(self._reset, peer)
        link.tell_all = partial(self._all_there_is, peer)
        link.before_flush = peer.session.flush
        return peer

    def _reset(self, peer: Peer) -> None:
        peer.inbox.clear()
        peer.doubt_routes()
        if self._moves is not None and peer.incarnations:
            self._moves.lost(peer.name)
        peer.incarnations += 1

    def _all_there_is(self, peer: Peer) -> list[bytes]:
        peer.given_up = False
        self.retained.tell_all(peer)
        matters = [records.said(name, one.all()) for name, one in self._incoming.matters.items()]
        told = [*self._routes.all(), records.numbers(self.measured()), *matters]
        if self._moves is not None:
            told += self._moves.joined(peer.name)
        return [b"".join(told)]

    def _tell_everyone(self, record: bytes) -> None:
        for peer in self.peers.values():
            peer.session.flush()
            peer.tell(record)

    def measured(self) -> dict[str, Any]:
        """Our numbers now."""
        limits = self.engine.connection_limits
        return {
            **self._measure(),
            "connected": self.engine.connected,
            "listeners": limits.connected(),
            "waiting": {name: peer.link.held for name, peer in self.peers.items() if peer.link.held},
            "knows": self.retained.knows,
        }

    def _tell_numbers(self) -> None:
        self._numbers_due = False
        if self._stopped:
            return
        said = self.measured()
        if said != self._said:
            self._said = said
            self._tell_everyone(records.numbers(said))
            self.engine.flush()

    def _tick(self) -> None:
        if self._stopped:
            return
        now = self.engine.clock.monotonic()
        for peer in list(self.peers.values()):
            peer.link.tick(now)
            if self._moves is not None and not self.is_alone and peer.down_for(now) > self._dead_after:
                self._moves.lost(peer.name)
            if peer.down_since is None or self.is_alone or now - peer.down_since <= FORGOTTEN_AFTER:
                continue
            if not peer.given_up:
                self._give_up(peer)
            elif not (self._fixed or peer.has_routes or peer.works):
                del self.peers[peer.name]
        self._tell_numbers()
        self.retained.tick()
        self.engine.flush()
        self.engine.clock.call_at(now + TICK, self._tick)

    def _give_up(self, peer: Peer) -> None:
        peer.given_up = True
        self._in_turns(self._count_lost(peer.link.forget()))
        peer.doubt_routes()
        self._in_turns(peer.forget_doubtful())
        peer.numbers = {}
        if self._moves is not None:
            self._moves.lost(peer.name)
        if peer.room is not None:
            self._has_room(peer)

    def _count_lost(self, batches: list[bytes]) -> Iterator[None]:
        for batch in batches:
            for lost in records.messages(batch):
                self.engine.counters.dropped["neighbour_gone"] += lost
                yield

    def _in_turns(self, steps: Iterator[None]) -> None:
        turns = self.engine.turns
        if not turns.take(steps):
            turns.later(lambda: self._in_turns(steps))

    def _has_room(self, peer: Peer) -> None:
        if peer.room is not None:
            peer.room.set()
            peer.room = None
            self._set_full()

    def _set_full(self) -> None:
        self.full = any(peer.room is not None for peer in self.peers.values())
        self.engine.restrict()


def _when_all(engine: Engine, peers: list[Peer], patience: float) -> Awaitable[Any] | None:
    """Once each of them has dealt with all that was sent until now; None where that is so."""
    missing = {peer.name for peer in peers}
    event = asyncio.Event()

    def done(name: str) -> None:
        missing.discard(name)
        if not missing:
            event.set()

    for peer in peers:
        peer.link.when_done(partial(done, peer.name))
    if not missing:
        return None
    engine.clock.call_at(engine.clock.monotonic() + patience, event.set)
    return event.wait()
