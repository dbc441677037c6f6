"""One node of a broker of many: what it tells the others, and what it does with what they tell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from ..delivery.neighbour import NOBODY
from ..delivery.outbox import Outbox
from ..engine.engine import Engine
from ..engine.publish import MAX_AT_ONE_GO, stamp
from ..packets.model import Publish, PublishRun
from ..routing.router import Route, UnansweredError
from ..routing.shared import Share
from ..routing.topics import SHARE
from ..session.session import Session
from . import records
from .bus import Transmit
from .held import HeldAnswers
from .link import ACKNOWLEDGED_TOGETHER, MOST_HELD
from .owner import owner_of
from .peer import Peer, is_elsewhere, local_members
from .retained import RetainedCopies

TICK = 1.0
SOON = 0.1
"""Seconds until the others know of a change in the number of clients."""
ROUTES_PATIENCE = 1.0
"""Seconds that SUBACK waits for nodes that do not answer."""
FORGOTTEN_AFTER = 30.0
"""Seconds without a node, or one in its place, after which what waits for it is given up."""
FILTERS_A_RECORD = 500


class Node:
    """Ties an engine to the other nodes: a bus calls :meth:`up`, :meth:`down` and :meth:`received`."""

    def __init__(
        self,
        engine: Engine,
        index: int,
        count: int,
        incarnation: int,
        *,
        owns_retained: bool = True,
        keeps: bool = False,
        measure: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """``count`` nodes with the indices from 0 on, of which this is one. ``owns_retained``: the retained
        messages that are here count; else those of the others do. ``keeps``: what is acknowledged is safe
        from a crash, so acknowledgements wait for the nodes that have to keep a message."""
        self.index = index
        self.count = count
        self.full = False
        self._held = HeldAnswers(engine) if keeps else None
        self.engine = engine
        self._measure = measure
        self._said: dict[str, Any] = {}
        """Our numbers as the others know them."""
        self._numbers_due = False
        self._filters: set[str] = set()
        """Our topic filters as the others know them."""
        self._groups: dict[str, tuple[int, int]] = {}
        self._turns: dict[str, int] = {}
        """Of each shared group: whose turn it is of those that are here."""
        self._changes = _Changes(self._announce)
        self.peers = {i: self._peer(i, incarnation) for i in range(count) if i != index}
        for peer in self.peers.values():
            peer.session.keeps = keeps
        self.retained = RetainedCopies(engine, index, self._tell_everyone, owns=owns_retained)
        engine.neighbours = self
        engine.router.changed = self._route_changed
        self._stopped = False

    @property
    def is_ready(self) -> bool:
        """Whether all others are there, and this one knows what they do."""
        return self.retained.knows and all(peer.link.is_up for peer in self.peers.values())

    def start(self) -> None:
        """Begin what is done by the clock. To be called when what an earlier run has left is there."""
        self.retained.start()
        for session in self.engine.sessions:
            for topic_filter in session.subscriptions:
                self._route_changed(session, topic_filter)
        self.engine.flush()
        self._tick()

    def stop(self) -> None:
        self._stopped = True
        self.engine.neighbours = None
        self.engine.router.changed = None

    # What the engine asks (`engine.Neighbours`).

    def is_mine(self, client_id: str) -> bool:
        return owner_of(client_id, self.count) == self.index

    def moved(self, session: Session) -> None:
        for topic_filter in session.subscriptions:
            if topic_filter.startswith(SHARE):
                self._route_changed(session, topic_filter)
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
        self._changes.flush()
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
        concerned = {target.session.elsewhere for target in route.targets}
        for share in route.groups:
            concerned.update(session.elsewhere for session, _ in share.members)
        for peer in self.peers.values():
            if peer.room is not None and peer.session in concerned:
                return peer.room.wait()
        return None

    # What the bus calls.

    def up(self, peer: int, transmit: Transmit) -> None:
        self.peers[peer].link.up(transmit)

    def down(self, peer: int) -> None:
        one = self.peers[peer]
        one.link.down()
        if one.down_since is None:
            one.down_since = self.engine.clock.monotonic()
            one.look_again()

    def received(self, peer: int, frame: bytes) -> None:
        one = self.peers[peer]
        one.link.received(frame, self.engine.clock.monotonic())
        if one.link.is_up and one.down_since is not None:
            one.down_since = None
            one.look_again()
        if one.room is not None and one.link.held < MOST_HELD // 2:
            self._has_room(one)
        self._work(one)
        self.engine.flush()

    # What is told.

    def _peer(self, index: int, incarnation: int) -> Peer:
        peer = Peer(self.engine, index, incarnation)
        link = peer.link
        link.handle = lambda number, batch: peer.inbox.append((number, batch))
        link.together = ACKNOWLEDGED_TOGETHER if self._held is None else 1
        link.reset = partial(self._reset, peer)
        peer.when_full = self._set_full
        link.tell_all = partial(self._all_there_is, peer)
        link.before_flush = peer.session.flush
        return peer

    def _reset(self, peer: Peer) -> None:
        peer.inbox.clear()
        peer.doubt_routes()
        peer.incarnations += 1

    def _all_there_is(self, peer: Peer) -> list[bytes]:
        peer.given_up = False
        told = [_filters(records.SUBSCRIBED, self._filters)]
        told += [records.members(name, *members) for name, members in self._groups.items()]
        told += [records.pack(records.ALL_ROUTES, b""), records.numbers(self._measured())]
        self.retained.tell_all(peer)
        return [b"".join(told)]

    def _tell_everyone(self, record: bytes) -> None:
        for peer in self.peers.values():
            peer.session.flush()
            peer.tell(record)

    def _route_changed(self, session: Session, topic_filter: str) -> None:
        if session.elsewhere is None:
            if not self._changes.chunks:
                self.engine.pending.outboxes.append(self._changes)
            self._changes.chunks.append(topic_filter)

    def _announce(self, changed: Iterable[str]) -> None:
        """Tell the others which of these filters our clients want now."""
        router = self.engine.router
        new: list[str] = []
        gone: list[str] = []
        for topic_filter in dict.fromkeys(changed):
            if topic_filter.startswith(SHARE):
                self._announce_group(topic_filter)
                continue
            foreign = sum(topic_filter in peer.filters for peer in self.peers.values())
            wanted = router.subscribers(topic_filter) > foreign
            if wanted and topic_filter not in self._filters:
                self._filters.add(topic_filter)
                new.append(topic_filter)
            elif not wanted and topic_filter in self._filters:
                self._filters.discard(topic_filter)
                gone.append(topic_filter)
        for kind, found in ((records.SUBSCRIBED, new), (records.UNSUBSCRIBED, gone)):
            if found:
                self._tell_everyone(_filters(kind, found))

    def _announce_group(self, topic_filter: str) -> None:
        group = self.engine.router.group(topic_filter)
        members = local_members(group) if group is not None else (0, 0)
        if members != self._groups.get(topic_filter, (0, 0)):
            if any(members):
                self._groups[topic_filter] = members
            else:
                self._groups.pop(topic_filter, None)
                self._turns.pop(topic_filter, None)
            self._tell_everyone(records.members(topic_filter, *members))

    def _measured(self) -> dict[str, Any]:
        limits = self.engine.connection_limits
        return {**self._measure(), "connected": self.engine.connected, "listeners": limits.connected()}

    def _tell_numbers(self) -> None:
        self._numbers_due = False
        if self._stopped:
            return
        said = self._measured()
        if said != self._said:
            self._said = said
            self._tell_everyone(records.numbers(said))
            self.engine.flush()

    def _tick(self) -> None:
        if self._stopped:
            return
        now = self.engine.clock.monotonic()
        for peer in self.peers.values():
            peer.link.tick(now)
            if peer.down_since is not None and now - peer.down_since > FORGOTTEN_AFTER:
                self._give_up(peer)
        self._tell_numbers()
        self.retained.tick()
        self.engine.flush()
        self.engine.clock.call_at(now + TICK, self._tick)

    def _give_up(self, peer: Peer) -> None:
        if peer.given_up:
            return
        peer.given_up = True
        if peer.link.forget():
            self.engine.counters.dropped["neighbour_gone"] += 1
        if peer.doubt_routes():
            self._go_on(peer, iter(peer.forget_doubtful()))
        peer.numbers = {}
        if peer.room is not None:
            self._has_room(peer)

    def _has_room(self, peer: Peer) -> None:
        if peer.room is not None:
            peer.room.set()
            peer.room = None
            self._set_full()

    def _set_full(self) -> None:
        self.full = any(peer.room is not None for peer in self.peers.values())
        self.engine.restrict()

    # What is done with what comes.

    def _work(self, peer: Peer) -> None:
        """Deal with what has come, until the turn is over."""
        if not peer.works and peer.inbox:
            peer.works = True
            self._go_on(peer, self._steps(peer))

    def _go_on(self, peer: Peer, steps: Iterator[None]) -> None:
        turns = self.engine.turns
        end = turns.end()
        for _ in steps:
            if turns.now() > end:
                turns.later(lambda: self._go_on(peer, steps))
                self.engine.flush()
                return
        peer.works = False
        self._work(peer)

    def _steps(self, peer: Peer) -> Iterator[None]:
        link = peer.link
        while peer.inbox:
            number, batch = peer.inbox.popleft()
            incarnation = link.peer
            peer.source = None
            for kind, body in records.unpack(batch):
                yield from self._HANDLERS[kind](self, peer, body)
            self.engine.flush()
            if incarnation == link.peer:
                self.engine.pending.when_written(link, partial(link.handled, number))

    def _packets(self, layout: int, peer: Peer, body: bytes) -> Iterator[None]:
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
                self._deliver(packet)
                yield

    def _deliver_run(self, peer: Peer, run: PublishRun) -> Iterator[None]:
        fanout = self.engine.fanout
        route = self.engine.router.routes.get(run.topic)
        plan = fanout.plan_for_run(self._local(route), run) if route is not None else None
        if plan is not None and not run.qos:
            waiting = fanout.forward(plan, run)
            if waiting:
                for _ in fanout.forward_later(waiting, run):
                    yield
            yield
            return
        few = plan is not None and len(run) * len(plan.renumber) <= MAX_AT_ONE_GO
        if plan is not None and few:
            fanout.renumber(plan, run, peer.source or NOBODY)
            yield
            return
        for packet in run:
            packet.source = peer.source
            self._deliver(packet)
            yield

    def _deliver(self, packet: Publish) -> None:
        """To our own clients."""
        engine = self.engine
        try:
            route = self._local(engine.router.route(packet.topic))
        except UnansweredError as unanswered:
            engine.spawn(_all(unanswered.answers), lambda _: self._deliver_later(packet))
            return
        if route.targets:
            if packet.properties is not None and packet.expires_at is None:
                stamp(engine, packet)
            engine.fanout.deliver(route, packet, None)

    def _deliver_later(self, packet: Publish) -> None:
        self._deliver(packet)
        self.engine.flush()

    def _local(self, route: Route[Session]) -> Route[Session]:
        local = route.local
        if local is None:
            targets = tuple(target for target in route.targets if not is_elsewhere(target.session))
            local = route.local = Route(targets, (), ())
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

    def _source(self, peer: Peer, body: bytes) -> Iterator[None]:
        peer.source = records.read_source(body)
        return iter(())

    def _retained(self, peer: Peer, body: bytes) -> Iterator[None]:
        self.retained.told(body)
        yield

    def _unretained(self, peer: Peer, body: bytes) -> Iterator[None]:
        self.retained.told_gone(body)
        yield

    def _all_retained(self, peer: Peer, body: bytes) -> Iterator[None]:
        yield from self.retained.all_told()

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
        everyone = [one.numbers for one in self.peers.values()]
        engine.connected_elsewhere = sum(one.get("connected", 0) for one in everyone)
        engine.connection_limits.elsewhere(one.get("listeners", {}) for one in everyone)
        yield

    _HANDLERS: dict[int, Callable[[Node, Peer, bytes], Iterator[None]]] = {  # noqa: RUF012 - read only
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
    }


class _Changes:
    """Filters that changed; looked at with the next flush, when all of a read's packets are handled."""

    def __init__(self, announce: Callable[[list[str]], None]) -> None:
        self.chunks: list[Any] = []
        self.written = 0
        self._announce = announce

    def flush(self) -> int:
        chunks, self.chunks = self.chunks, []
        self.write_all(chunks)
        return 0

    def write_all(self, chunks: list[Any]) -> None:
        self._announce(chunks)


def _filters(kind: int, topic_filters: Iterable[str]) -> bytes:
    found = iter(topic_filters)
    told = []
    while some := list(islice(found, FILTERS_A_RECORD)):
        told.append(records.pack(kind, "\0".join(some).encode()))
    return b"".join(told)


def _when_all(engine: Engine, peers: list[Peer], patience: float) -> Awaitable[Any] | None:
    """Once each of them has dealt with all that was sent until now; None where that is so."""
    missing = {peer.index for peer in peers}
    event = asyncio.Event()

    def done(index: int) -> None:
        missing.discard(index)
        if not missing:
            event.set()

    for peer in peers:
        peer.link.when_done(partial(done, peer.index))
    if not missing:
        return None
    engine.clock.call_at(engine.clock.monotonic() + patience, event.set)
    return event.wait()


async def _all(answers: list[Awaitable[bool]]) -> None:
    for answer in answers:
        await answer
