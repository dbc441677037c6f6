"""What a node does with the records of the others: it delivers their messages to its own clients, and keeps
their routes, retained messages and numbers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Set
from functools import partial
from struct import error
from typing import Any, Protocol, TypeAlias

from ..delivery.neighbour import NOBODY
from ..engine.engine import Engine
from ..engine.publish import MAX_AT_ONE_GO, stamp
from ..engine.spreading import deliver_in_steps, goes_in_turns
from ..engine.turns import Work
from ..packets.model import Publish, PublishRun
from ..routing.route import Route
from ..routing.router import ManyReceiversError, UnansweredError
from ..routing.shared import Share
from ..session.session import Session
from . import records
from .peer import Peer, is_elsewhere
from .retained import RetainedCopies
from .session_moves import SessionMoves

log = logging.getLogger("pybroker.cluster")

Step: TypeAlias = Callable[[Callable[[], None]], None] | None
"""One step of what is done with a batch: None, or what to call with the function that goes on later."""


class Matter(Protocol):
    """Something that the nodes have in common, and tell each other in values that JSON has words for."""

    def all(self) -> Any:
        """What a node that is there anew is told."""

    def told(self, said: Any) -> None:
        """What another node says."""


class Incoming:
    """Handles the batches that wait in each peer's inbox, in their order."""

    def __init__(
        self, engine: Engine, peers: Mapping[str, Peer], retained: RetainedCopies, *, one_limit: bool
    ) -> None:
        """``one_limit``: the limits of connections hold for all nodes together, else for each by itself."""
        self.engine = engine
        self._peers = peers
        self._retained_copies = retained
        self._one_limit = one_limit
        self.matters: dict[str, Matter] = {}
        self._turns: dict[str, int] = {}
        """Of each shared group: whose turn it is of those that are here."""
        self.shut: dict[Session, set[str]] = {}
        """Sessions that move from node to node, and the nodes whose messages they do not take."""
        self.moves: SessionMoves | None = None
        """None where sessions do not move."""

    def forget_turn(self, topic_filter: str) -> None:
        """The shared subscription has no member here any more."""
        self._turns.pop(topic_filter, None)

    def work(self, peer: Peer) -> None:
        """Deal with what has come, until the turn is over."""
        if not peer.works and peer.inbox:
            peer.works = True
            self._go_on(peer, self._steps(peer))

    def _go_on(self, peer: Peer, steps: Iterator[Step]) -> None:
        turns = self.engine.turns
        end = turns.end()
        for wait in steps:
            if wait is not None:
                wait(lambda: self._go_on(peer, steps))
                self.engine.flush()
                return
            if turns.now() > end:
                turns.later(lambda: self._go_on(peer, steps))
                self.engine.flush()
                return
        peer.works = False
        self.work(peer)

    def _steps(self, peer: Peer) -> Iterator[Step]:
        link = peer.link
        while peer.inbox:
            number, batch = peer.inbox.popleft()
            incarnation = link.peer
            peer.source = None
            try:
                for kind, body in records.unpack(batch):
                    yield from self._HANDLERS[kind](self, peer, body)
            except (records.RecordError, LookupError, TypeError, ValueError, error) as unfit:
                log.error("node %s has sent what cannot be read; it is ignored: %s", peer.name, unfit)
            self.engine.flush()
            if incarnation == link.peer:
                self.engine.pending.when_written(link, partial(link.handled, number))

    def _packets(self, layout: int, peer: Peer, body: bytes) -> Iterator[Step]:
        counters = self.engine.counters
        for packet in peer.readers[layout].feed(body):
            # Where it came from it was counted as sent; it is sent from here, and counted again.
            many = len(packet) if isinstance(packet, PublishRun) else 1
            counters.publish_sent -= many
            counters.packets_sent -= many
            if isinstance(packet, PublishRun):
                yield from self._deliver_run(peer, packet)
            elif isinstance(packet, Publish):
                packet.source = peer.source
                yield self._deliver(peer, packet)

    def _deliver_run(self, peer: Peer, run: PublishRun) -> Iterator[Step]:
        fanout = self.engine.fanout
        route = self.engine.router.routes.get(run.topic)
        plan = fanout.plan_for_run(self._local(peer, route), run) if route is not None else None
        if plan is not None and not run.qos:
            waiting = fanout.forward(plan, run)
            if waiting:
                for _ in fanout.forward_later(waiting, run):
                    yield None
            yield None
            return
        few = plan is not None and len(run) * len(plan.renumber) <= MAX_AT_ONE_GO
        if plan is not None and few:
            fanout.renumber(plan, run, peer.source or NOBODY)
            yield None
            return
        for packet in run:
            packet.source = peer.source
            yield self._deliver(peer, packet)

    def _deliver(self, peer: Peer, packet: Publish) -> Step:
        """To our own clients."""
        engine = self.engine
        if packet.properties is not None and packet.expires_at is None:
            stamp(engine, packet)
        try:
            route = self._local(peer, engine.router.route(packet.topic))
        except UnansweredError as unanswered:
            peer.unanswered += 1
            engine.spawn(_all(unanswered.answers), lambda _: self._deliver_later(peer, packet))
            return None
        except ManyReceiversError:
            return partial(engine.spreading.add, self._deliver_in_steps(peer, packet), len(packet.wire))
        if goes_in_turns(route, len(packet.wire)):
            return partial(engine.spreading.add, self._deliver_in_steps(peer, packet), len(packet.wire))
        if route.targets:
            engine.fanout.deliver(route, packet, None)
        return None

    def _deliver_in_steps(self, peer: Peer, packet: Publish) -> Work:
        route = yield from self.engine.router.long_route(packet.topic)
        yield from deliver_in_steps(self.engine, route, packet, None, partial(self._local, peer))

    def _deliver_later(self, peer: Peer, packet: Publish) -> None:
        if (wait := self._deliver(peer, packet)) is not None:
            wait(_nothing)
        peer.unanswered -= 1
        if not peer.unanswered and peer.when_answered is not None:
            go_on, peer.when_answered = peer.when_answered, None
            go_on()
        self.engine.flush()

    def _local(self, peer: Peer, route: Route[Session]) -> Route[Session]:
        """The receivers here."""
        local = route.local
        if local is None:
            targets = tuple(target for target in route.targets if not is_elsewhere(target.session))
            local = route.local = Route(targets, (), ())
        if self.shut and any(target.session in self.shut for target in local.targets):
            none: Set[str] = frozenset()
            name, shut = peer.name, self.shut
            return Route(tuple(t for t in local.targets if name not in shut.get(t.session, none)), (), ())
        return local

    def _to_group(self, layout: int, peer: Peer, body: bytes) -> Iterator[None]:
        topic_filter, data = records.read_group(body)
        packet = records.read_packet(data, layout)
        packet.source = peer.source
        if packet.properties is not None:
            stamp(self.engine, packet)
        group = self.engine.router.group(topic_filter)
        if group is None:
            self.engine.reports.dropped("no_subscribers", packet)
            return
        members = group.share_of(packet.topic).members
        ours = [one for one in members if not is_elsewhere(one[0])]
        if ours:
            turn, group.turn = group.turn, self._turns.get(topic_filter, 0)
            self.engine.fanout.to_group(Share(group, ours), packet)
            self._turns[topic_filter], group.turn = group.turn, turn
        else:  # they have left meanwhile
            others = [one for one in members if one[0].elsewhere is not peer.session]
            self.engine.fanout.to_group(Share(group, others), packet)
        yield

    def _move(self, peer: Peer, body: bytes) -> Iterator[Step]:
        """All messages before it have to be with their receivers."""
        if peer.unanswered:
            yield partial(setattr, peer, "when_answered")
        if self.engine.spreading:
            yield self.engine.spreading.when_done
        if self.moves is not None:
            self.moves.received(peer.name, records.read_move(body))
        yield None

    def _source(self, peer: Peer, body: bytes) -> Iterator[None]:
        peer.source = records.read_source(body)
        return iter(())

    def _retained(self, peer: Peer, body: bytes) -> Iterator[None]:
        self._retained_copies.told(body)
        yield

    def _unretained(self, peer: Peer, body: bytes) -> Iterator[None]:
        self._retained_copies.told_gone(body)
        yield

    def _all_retained(self, peer: Peer, body: bytes) -> Iterator[None]:
        yield from self._retained_copies.all_told()

    def _subscribed(self, peer: Peer, body: bytes) -> Iterator[None]:
        yield from peer.subscribed(body.decode().split("\0") if body else ())

    def _unsubscribed(self, peer: Peer, body: bytes) -> Iterator[None]:
        yield from peer.unsubscribed(body.decode().split("\0"))

    def _all_routes(self, peer: Peer, body: bytes) -> Iterator[None]:
        yield from peer.forget_doubtful()

    def _members(self, peer: Peer, body: bytes) -> Iterator[None]:
        peer.has_members(*records.read_members(body))
        yield

    def _numbers(self, peer: Peer, body: bytes) -> Iterator[None]:
        peer.numbers = records.read_numbers(body)
        engine = self.engine
        everyone = [one.numbers for one in self._peers.values()]
        if self._one_limit:
            engine.connected_elsewhere = sum(one.get("connected", 0) for one in everyone)
            engine.connection_limits.elsewhere(one.get("listeners", {}) for one in everyone)
        yield

    def _said(self, peer: Peer, body: bytes) -> Iterator[None]:
        name, value = records.read_said(body)
        if name in self.matters:
            self.matters[name].told(value)
        yield

    _HANDLERS: dict[int, Callable[[Incoming, Peer, bytes], Iterator[Step]]] = {  # noqa: RUF012 - read only
        records.PACKETS_3: lambda self, peer, body: self._packets(4, peer, body),
        records.PACKETS_5: lambda self, peer, body: self._packets(5, peer, body),
        records.GROUP_3: lambda self, peer, body: self._to_group(4, peer, body),
        records.GROUP_5: lambda self, peer, body: self._to_group(5, peer, body),
        records.SOURCE: _source,
        records.RETAINED: _retained,
        records.UNRETAINED: _unretained,
        records.ALL_RETAINED: _all_retained,
        records.SUBSCRIBED: _subscribed,
        records.UNSUBSCRIBED: _unsubscribed,
        records.ALL_ROUTES: _all_routes,
        records.MEMBERS: _members,
        records.NUMBERS: _numbers,
        records.SAID: _said,
        records.MOVE: _move,
    }


def _nothing() -> None: ...


async def _all(answers: list[Awaitable[bool]]) -> None:
    for answer in answers:
        await answer
