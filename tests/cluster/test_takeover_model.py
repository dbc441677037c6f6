"""The protocol of takeover between toy nodes: one filter, sessions that are lists of numbers, and ways that
keep their order. Every interleaving of what is under way is possible, and many are tried."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker.broker.cluster.directory import Answer, Owner
from pybroker.broker.cluster.moves import Message, Send
from pybroker.broker.cluster.takeover import PATIENCE, STAY, STRAY_FOR, Refusal, Takeovers

from .memory import MemoryDirectory

Numbered = tuple[str, int]
"""Who has published, and which of its messages it is."""


class Session:
    def __init__(self) -> None:
        self.queue: list[Numbered] = []
        self.connection: Connection | None = None
        self.shut: set[str] = set()
        self.deaf = False
        self.state: list[Numbered] = []

    def take(self, message: Numbered, source: str) -> None:
        if self.deaf or source in self.shut:
            return
        if self.connection is not None:
            self.connection.got.append(message)
        else:
            self.queue.append(message)


class Connection:
    def __init__(self, client_id: str, got: list[Numbered]) -> None:
        self.client_id = client_id
        self.got = got
        self.open = True
        self.refusal: Refusal | None = None


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class SlowDirectory:
    """Answers when the world wants it to."""

    def __init__(self, world: World, node: str) -> None:
        self._world = world
        self._node = node

    @property
    def available(self) -> bool:
        return self._world.directory.available

    def claim(
        self, client_id: str, node: str, over: Owner | None, then: Callable[[Answer | None], None]
    ) -> None:
        later = self._world.later
        later(
            self._node,
            lambda: self._world.directory.claim(client_id, node, over, partial(later, self._node, then)),
        )

    def read(self, client_id: str, then: Callable[[Answer | None], None]) -> None:
        later = self._world.later
        later(self._node, lambda: self._world.directory.read(client_id, partial(later, self._node, then)))

    def release(self, client_id: str, owner: Owner) -> None:
        self._world.later(self._node, lambda: self._world.directory.release(client_id, owner))


class Node:
    """Host of the protocol."""

    def __init__(self, world: World, name: str, *, serves_alone: bool = True) -> None:
        self.world = world
        self.name = name
        self.dead: set[str] = set()
        self.drains: list[Callable[[str], None]] = []
        self.routes: set[str] = set()
        self.sessions: dict[str, Session] = {}
        self.arriving: dict[str, Session] = {}
        self.jobs: dict[tuple[str, bool], object] = {}
        self.takeovers = Takeovers(self, SlowDirectory(world, name), serves_alone=serves_alone)

    # Messages.

    def publish(self, message: Numbered) -> None:
        self.take(message, self.name)
        for node in sorted(self.routes):
            self.world.send(self.name, node, message)

    def take(self, message: Numbered, source: str) -> None:
        for session in (*self.sessions.values(), *self.arriving.values()):
            session.take(message, source)

    def announce(self) -> None:
        kind = "+" if self.sessions or self.arriving else "-"
        for node in self.alive():
            self.world.send(self.name, node, kind)

    def received(self, source: str, what: Any) -> None:
        if what == "+":
            self.routes.add(source)
        elif what == "-":
            self.routes.discard(source)
        elif isinstance(what, Message):
            self.takeovers.received(source, what)
        elif callable(what):
            what()
        else:
            self.take(what, source)

    def lost(self, node: str) -> None:
        self.dead.add(node)
        self.routes.discard(node)
        self.takeovers.lost(node)

    # The engine.

    def connect(self, connection: Connection) -> None:
        client_id = connection.client_id
        if self.takeovers.is_here(client_id):
            self.admit(connection, None)
        else:
            self.takeovers.claim(client_id, False, partial(self.admit, connection))

    def admit(self, connection: Connection, refusal: Refusal | None) -> None:
        connection.refusal = refusal
        if refusal is not None or not connection.open:
            connection.open = False
            return
        session = self.sessions.get(connection.client_id)
        if session is None:
            session = self.sessions[connection.client_id] = Session()
            self.announce()
        if session.connection is not None:
            session.connection.open = False
        session.connection = connection
        connection.got += session.queue
        session.queue.clear()

    # `Host`.

    def alive(self) -> Collection[str]:
        return [name for name in self.world.names if name != self.name and name not in self.dead]

    def everyone(self) -> Collection[str]:
        return [name for name in self.world.names if name != self.name]

    def can_move(self, client_id: str) -> bool:
        return True

    def tell(self, node: str, message: Message) -> None:
        self.world.send(self.name, node, message)

    def drain(self, then: Callable[[], None]) -> None:
        missing = set(self.alive())

        def done(node: str) -> None:
            missing.discard(node)
            if not missing & set(self.alive()):
                then()

        for node in list(missing):
            answer = partial(self.world.send, node, self.name, partial(done, node))
            self.world.send(self.name, node, answer)
        self.drains.append(done)
        if not missing:
            then()

    def now(self) -> float:
        return self.world.time

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer()
        self.world.timers.append((self.world.time + seconds, self.name, timer, call))
        return timer

    def has(self, client_id: str) -> bool:
        return client_id in self.sessions

    def is_connected(self, client_id: str) -> bool:
        return self.sessions[client_id].connection is not None

    def end(self, client_id: str, reason: str) -> None:
        self.freeze(client_id)
        self.forget(client_id)

    def freeze(self, client_id: str) -> bool:
        session = self.sessions[client_id]
        if session.connection is not None:
            session.connection.open = False
            session.connection = None
        return True

    def offer(self, client_id: str, node: str, send: Send) -> None:
        self.job(client_id, False, lambda: send(b"", True))

    def shut(self, client_id: str, node: str) -> None:
        self.sessions[client_id].shut.add(node)

    def leave(self, client_id: str, node: str, send: Send) -> None:
        session = self.sessions[client_id]

        def begin() -> None:
            session.deaf = True
            send(repr([]).encode(), False)
            self.job(client_id, False, lambda: send(repr(session.queue).encode(), True))

        self.job(client_id, False, begin)

    def stay(self, client_id: str) -> None:
        self.jobs.pop((client_id, False), None)
        session = self.sessions[client_id]
        session.deaf = False
        session.shut.clear()

    def forget(self, client_id: str) -> None:
        self.jobs.pop((client_id, False), None)
        del self.sessions[client_id]
        self.announce()

    def offered(self, client_id: str, data: bytes) -> None:
        session = self.arriving[client_id] = Session()
        session.deaf = True

    def subscribe(self, client_id: str, then: Callable[[], None]) -> None:
        self.announce()
        self.job(client_id, True, then)

    def listen(self, client_id: str, shut: Collection[str]) -> None:
        self.arriving[client_id].deaf = False
        self.arriving[client_id].shut = set(shut)

    def shut_arriving(self, client_id: str, node: str) -> None:
        self.arriving[client_id].shut.add(node)

    def open(self, client_id: str, node: str) -> None:
        (self.arriving.get(client_id) or self.sessions[client_id]).shut.discard(node)

    def join_groups(self, client_id: str, then: Callable[[], None]) -> None:
        self.job(client_id, True, then)

    def brought(self, client_id: str, data: bytes) -> None:
        self.arriving[client_id].state += eval(data)

    def settle(self, client_id: str, then: Callable[[], None]) -> None:
        def settled() -> None:
            session = self.arriving.pop(client_id)
            session.queue = session.state + session.queue
            self.sessions[client_id] = session
            then()

        self.job(client_id, True, settled)

    def discard(self, client_id: str) -> None:
        self.jobs.pop((client_id, True), None)
        if self.arriving.pop(client_id, None) is not None:
            self.announce()

    def job(self, client_id: str, arrives: bool, work: Callable[[], None]) -> None:
        """In a later turn, unless it is given up."""
        jobs = self.jobs.setdefault((client_id, arrives), object())

        def run() -> None:
            if self.jobs.get((client_id, arrives)) is jobs:
                work()

        self.world.later(self.name, run)


class World:
    """Nodes, the ways between them, and all that is under way."""

    def __init__(self, names: str = "ABC", clients: int = 1) -> None:
        self.names = list(names)
        self.directory = MemoryDirectory()
        self.time = 0.0
        self.timers: list[tuple[float, str, Timer, Callable[[], None]]] = []
        self.soon: dict[str, deque[Callable[[], None]]] = {name: deque() for name in names}
        self.ways: dict[tuple[str, str], deque[Any]] = {
            (one, other): deque() for one in names for other in names if one != other
        }
        self.nodes = {name: Node(self, name) for name in names}
        self.got: dict[str, list[Numbered]] = {f"c{n}": [] for n in range(clients)}
        self.sent = dict.fromkeys(names, 0)
        self.connections: list[Connection] = []
        for number, client_id in enumerate(self.got):
            self.connect(client_id, names[number % len(names)])
        self.run_all()

    def connect(self, client_id: str, node: str) -> Connection:
        connection = Connection(client_id, self.got[client_id])
        self.connections.append(connection)
        self.nodes[node].connect(connection)
        return connection

    def publish(self, node: str) -> None:
        self.nodes[node].publish((node, self.sent[node]))
        self.sent[node] += 1

    def send(self, source: str, target: str, what: Any) -> None:
        if (source, target) in self.ways and source in self.nodes:
            self.ways[source, target].append(what)

    def later(self, node: str, call: Callable[..., None], *args: Any) -> None:
        self.soon[node].append(partial(call, *args))

    def die(self, node: str) -> None:
        """What it has sent may arrive; the others find out one after another."""
        del self.nodes[node]
        for connection in self.connections:
            connection.open = connection.open and connection.client_id in self.held()
        self.soon[node].clear()
        for (source, target), way in self.ways.items():
            if target == node:
                way.clear()
            elif source == node:
                way.append(partial(self._lost, target, node))

    def _lost(self, node: str, dead: str) -> None:
        self.nodes[node].lost(dead)
        for other in self.nodes.values():
            for done in other.drains:
                done(dead)

    def held(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, node in self.nodes.items():
            for client_id in node.sessions:
                found.setdefault(client_id, []).append(name)
        return found

    def steps(self) -> list[Callable[[], None]]:
        """What can happen next."""
        found = [
            partial(self._deliver, way)
            for way, waiting in self.ways.items()
            if waiting and way[1] in self.nodes
        ]
        found += [partial(self._call, name) for name, calls in self.soon.items() if calls]
        return found

    def _deliver(self, way: tuple[str, str]) -> None:
        what = self.ways[way].popleft()
        self.nodes[way[1]].received(way[0], what)

    def _call(self, name: str) -> None:
        self.soon[name].popleft()()

    def pass_time(self, seconds: float) -> None:
        self.time += seconds
        due = [one for one in self.timers if one[0] <= self.time]
        self.timers = [one for one in self.timers if one[0] > self.time]
        for _, node, timer, call in due:
            if not timer.cancelled and node in self.nodes:
                call()

    def run_all(self) -> None:
        for _ in range(100_000):
            steps = self.steps()
            if not steps:
                return
            steps[0]()
        raise AssertionError("it never ends")

    def check(self) -> None:
        """What holds at every moment."""
        for client_id in self.got:
            holders = [
                (node.takeovers.held[client_id], name)
                for name, node in self.nodes.items()
                if client_id in node.takeovers.held
            ]
            epochs = [epoch for epoch, _ in holders if epoch]
            assert len(epochs) == len(set(epochs)), holders
            connected = [
                node
                for node in self.nodes.values()
                if client_id in node.sessions and node.sessions[client_id].connection is not None
            ]
            assert len(connected) <= 1

    def check_filters(self) -> None:
        """Somebody has the filter, and everybody knows of somebody who does."""
        for name, node in self.nodes.items():
            here = bool(node.sessions or node.arriving)
            assert here or any(
                self.nodes[other].sessions or self.nodes[other].arriving
                for other in node.routes
                if other in self.nodes
            ), f"{name} knows nobody"

    def finish(self) -> None:
        """Let everything come to its end, and each client have what waits for it."""
        for _ in range(3):
            self.run_all()
            self.pass_time(STRAY_FOR + PATIENCE + STAY)
        self.run_all()
        for client_id in self.got:
            last = self.connect(client_id, next(iter(self.nodes)))
            self.run_all()
            self.pass_time(STAY)
            self.run_all()
            assert last.open, last.refusal
        assert not any(node.arriving for node in self.nodes.values())
        assert not any(node.takeovers._arrivals or node.takeovers._departures for node in self.nodes.values())
        assert {client_id: len(nodes) for client_id, nodes in self.held().items()} == dict.fromkeys(
            self.got, 1
        )
        for client_id, owner in self.directory.owners.items():
            if owner.node not in self.nodes:
                continue  # it died before it asked anybody: who claims next asks all
            assert self.held()[client_id] == [owner.node]
            assert self.nodes[owner.node].takeovers.held[client_id] == owner.epoch


def per_publisher(got: list[Numbered]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for publisher, number in got:
        found.setdefault(publisher, []).append(number)
    return found


def explore(
    chance: random.Random, world: World, actions: list[str], length: int, *, dies: bool = False
) -> None:
    """Random steps; where nobody dies, the invariants of filters hold, too."""
    nobody_dies = "die" not in actions and not dies
    for _ in range(length):
        action = chance.choice(actions)
        steps = world.steps()
        if action == "step" and steps:
            chance.choice(steps)()
        elif action == "publish":
            world.publish(chance.choice(list(world.nodes)))
        elif action == "connect":
            world.connect(chance.choice(list(world.got)), chance.choice(list(world.nodes)))
        elif action == "time":
            world.pass_time(chance.choice([STAY, STAY, PATIENCE]))
        elif action == "drop":
            for connection in world.connections:
                connection.open = False
            for node in world.nodes.values():
                for session in node.sessions.values():
                    session.connection = None
        elif action == "die" and len(world.nodes) > 2 and chance.random() < 0.3:
            world.die(chance.choice(list(world.nodes)))
        world.check()
        if nobody_dies:
            world.check_filters()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**48), st.sampled_from([1, 2]), st.sampled_from(["ABC", "ABCD"]))
def test_no_message_is_lost_or_repeated_and_the_order_of_each_publisher_is_kept(
    seed: int, clients: int, names: str
) -> None:
    chance = random.Random(seed)
    world = World(names, clients)
    explore(chance, world, ["step"] * 12 + ["publish"] * 4 + ["connect", "time"], 300)
    world.finish()
    for got in world.got.values():
        assert per_publisher(got) == {name: list(range(count)) for name, count in world.sent.items() if count}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**48))
def test_clients_that_leave_meanwhile_lose_nothing(seed: int) -> None:
    chance = random.Random(seed)
    world = World()
    explore(chance, world, ["step"] * 12 + ["publish"] * 3 + ["connect", "drop", "time"], 200)
    world.finish()
    [got] = world.got.values()
    assert per_publisher(got) == {name: list(range(count)) for name, count in world.sent.items() if count}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**48))
def test_nodes_that_die_leave_one_owner(seed: int) -> None:
    chance = random.Random(seed)
    world = World("ABCDE", 2)
    explore(chance, world, ["step"] * 12 + ["publish"] * 3 + ["connect", "time", "die"], 300)
    world.finish()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**48))
def test_the_death_of_one_node_repeats_nothing_and_keeps_the_order(seed: int) -> None:
    chance = random.Random(seed)
    world = World("ABCD", 2)
    actions = ["step"] * 12 + ["publish"] * 3 + ["connect", "time"]
    explore(chance, world, actions, chance.randrange(150), dies=True)
    world.die(chance.choice("ABCD"))
    explore(chance, world, actions, 150, dies=True)
    world.finish()
    for got in world.got.values():
        for numbers in per_publisher(got).values():
            assert numbers == sorted(set(numbers))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**48))
def test_the_death_of_a_node_that_only_watches_costs_nothing(seed: int) -> None:
    """Nodes A and B move the session; D, which only switches, dies in the middle."""
    chance = random.Random(seed)
    world = World("ABCD")
    dies_after = chance.randrange(60)
    for step in range(200):
        if step == dies_after:
            world.die("D")
        steps = world.steps()
        match chance.choice(["step"] * 10 + ["publish"] * 3 + ["connect", "time"]):
            case "step" if steps:
                chance.choice(steps)()
            case "publish":
                world.publish(chance.choice([name for name in "ABC" if name in world.nodes]))
            case "connect":
                world.connect("c0", chance.choice("ABC"))
            case "time":
                world.pass_time(STAY)
            case _:
                pass
        world.check()
    world.finish()
    assert per_publisher(world.got["c0"]) == {
        name: list(range(count)) for name, count in world.sent.items() if count
    }
