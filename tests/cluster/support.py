"""Several engines that are one broker, over a bus in memory, with one clock that is turned by hand."""

from __future__ import annotations

from typing import Any

from pybroker.broker.clock import ManualClock
from pybroker.broker.cluster.node import Node
from pybroker.broker.cluster.owner import owner_of
from pybroker.broker.packets.model import Connack
from tests.harness import Broker, Client

from .memory import MemoryDirectory, Ways


class Cluster:
    """``nodes[i]`` is a broker as tests without sockets use it. Call :meth:`settle` before reading."""

    def __init__(
        self,
        count: int = 3,
        *,
        keeps: bool = False,
        fixed: bool = True,
        moves: bool = False,
        serves_alone: bool = True,
        **options: Any,
    ) -> None:
        """``moves``: a client may connect to any node, and its session moves there."""
        self.clock = ManualClock()
        self.ways = Ways()
        self.count = count
        self._options = options
        self._keeps = keeps
        self._fixed = fixed and not moves
        self.directory = MemoryDirectory() if moves else None
        self._serves_alone = serves_alone
        self._incarnation = 0
        self.nodes: list[Broker] = []
        self.ends: list[Node] = []
        for index in range(count):
            broker, end = self.make(index, first=index == 0)
            self.nodes.append(broker)
            self.ends.append(end)
            self.ways.enter(index, end)
        self.settle()

    def __getitem__(self, index: int) -> Broker:
        return self.nodes[index]

    def connect(self, index: int, client_id: str, version: int = 5, **options: Any) -> Client:
        client = self.nodes[index].connect(client_id, version, **options)
        self.settle()
        return client

    def arrive(self, index: int, client_id: str, version: int = 5, **options: Any) -> Client:
        """Connect a client with a session that lasts, which may be on another node until now."""
        options.setdefault("clean_start", False)
        if version == 5:
            options.setdefault("session_expiry_interval", 1000)
        client = self.nodes[index].dial(version)
        client.send_connect(client_id, **options)
        self.settle()
        client.connack = client.next_of(Connack)
        return client

    def connect_anywhere(self, client_id: str, version: int = 5, **options: Any) -> Client:
        """At the node where it belongs."""
        return self.connect(owner_of(client_id, self.count), client_id, version, **options)

    def subscribe(self, client: Client, *filters: str, qos: int = 0, **options: Any) -> None:
        from pybroker.broker.packets.model import Suback, Subscribe, SubscribeFilter

        client.send(Subscribe(client.new_id(), [SubscribeFilter(one, qos, **options) for one in filters]))
        self.settle()
        assert all(reason < 0x80 for reason in client.next_of(Suback).reasons)
        self.settle()

    def settle(self) -> None:
        """Deliver all that is under way, and let everything that waits for it go on."""
        while True:
            before = self.ways.delivered
            self.ways.deliver()
            waited = any(broker.waiting for broker in self.nodes)
            for broker in self.nodes:
                broker.answer()
            if self.ways.delivered == before and not waited:
                return

    def die(self, index: int) -> None:
        """As kill -9: nothing is left of it; its clients' connections are gone."""
        self.ends[index].stop()
        self.ways.leave(index)
        for channel in list(self.nodes[index].engine.channels):
            channel.link.closed = True

    def replace(self, index: int) -> None:
        """A new process takes the place of the one that died."""
        self.nodes[index], self.ends[index] = self.make(index, first=False)
        self.ways.enter(index, self.ends[index])
        self.settle()

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.settle()

    def make(self, index: int, *, first: bool) -> tuple[Broker, Node]:
        self._incarnation += 1000
        broker = Broker(clock=self.clock, **self._options)
        end = Node(
            broker.engine,
            str(index),
            self._incarnation,
            others=[str(one) for one in range(self.count) if one != index] if self._fixed else None,
            is_mine=(lambda client_id: owner_of(client_id, self.count) == index) if self._fixed else None,
            owns_retained=first,
            keeps=self._keeps,
            directory=self.directory,
            refuses_alone=not self._serves_alone,
        )
        end.start()
        return broker, end
