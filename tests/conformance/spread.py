"""The engine as several nodes of one broker, with each client on another of them than the one before."""

from __future__ import annotations

from typing import Any

from pybroker.broker.engine import handlers
from pybroker.broker.packets.model import Connack
from tests.cluster.support import Cluster
from tests.harness import Broker, Client, FakeLink


class SpreadBroker(Broker):
    """Looks like one. What is asked of its engine is asked of the first node."""

    def __init__(self, nodes: int) -> None:
        self._cluster = Cluster(nodes)
        self.__dict__.update(vars(self._cluster[0]))
        self._homes: dict[str, Broker] = {}

    def dial(self, version: int = 5) -> Client:
        return SpreadClient(self, version)

    def answer(self) -> None:
        self._cluster.settle()

    def dropped(self, reason: str) -> int:
        return sum(node.dropped(reason) for node in self._cluster.nodes)

    def home_of(self, client_id: str) -> Broker:
        """The node that has the client's session: always the same, and the next one for a new client."""
        turn = len(self._homes) % self._cluster.count
        return self._homes.setdefault(client_id, self._cluster[turn])


class SpreadClient(Client):
    """Its connection is passed on to the node of the client identifier, as CONNECT names it."""

    broker: SpreadBroker

    def send_connect(self, client_id: str = "c", **options: Any) -> None:
        if not self.client_id:
            self._pass_on(client_id or f"unnamed {id(self)}")
        super().send_connect(client_id, **options)

    def connect(self, client_id: str = "c", **options: Any) -> Connack:
        connack = super().connect(client_id, **options)
        assigned = connack.properties and connack.properties.assigned_client_identifier
        if assigned:
            self.broker._homes[assigned] = self.broker.home_of(f"unnamed {id(self)}")
        return connack

    def send_bytes(self, data: bytes) -> None:
        super().send_bytes(data)
        self.broker.answer()

    def _pass_on(self, name: str) -> None:
        node = self.broker.home_of(name)
        self.channel.lost()
        self.link = FakeLink()
        self.channel = node.open_channel(
            node.engine, handlers, self.link, listener="tcp", peer="192.0.2.1:50000"
        )
        self.link.channel = self.channel

    def drop(self) -> None:
        super().drop()
        self.broker.answer()

    def _read(self) -> None:
        self.broker.answer()
        super()._read()
