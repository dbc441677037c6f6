"""One run of the load generator: its options, its clients, its outcome."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..process import Meter, resident_mib
from .client import Address, Client
from .flow import Flow, Publisher, Subscriber, drive


@dataclass(slots=True)
class Outcome:
    want: int
    got: int
    meter: Meter
    cut: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    """What this scenario measures beside the rate."""


class Run:
    """The options of a run, and how its clients are made."""

    def __init__(self, options: argparse.Namespace) -> None:
        host, _, port = options.address.rpartition(":")
        self.address: Address = (host, int(port))
        self.options = options
        self.pid: int = options.pid
        self.clients: int = options.clients
        self.messages: int = options.messages
        self.version: int = options.version
        self.meter = Meter(self.pid)
        self.flow = Flow(options.messages, options.size, options.qos, options.version, options.window)
        self._tag = os.getpid()

    def connect(self, name: str, *, keeps: bool = False) -> Client:
        return Client(self.address, f"{name}-{self._tag}", self.version, keeps=keeps)

    def topics(self) -> list[str]:
        """One for each client, all of the same length."""
        width = len(str(self.clients))
        return [f"b/{i:0{width}}" for i in range(self.clients)]

    def publishers(self, topics: Sequence[str]) -> list[Publisher]:
        return [Publisher(self.connect(f"p{i}"), topic, self.flow) for i, topic in enumerate(topics)]

    def subscriber(self, name: str, topic_filter: str, topic: str) -> Subscriber:
        client = self.connect(name)
        client.subscribe([topic_filter], self.flow.qos)
        return Subscriber(client, topic, self.flow)

    def subscribers(self, topics: Sequence[str]) -> list[Subscriber]:
        return [self.subscriber(f"s{i}", topic, topic) for i, topic in enumerate(topics)]

    def grown_kib(self, before_mib: float) -> float:
        """The broker's memory since it was ``before_mib``, for each client."""
        return round((resident_mib(self.pid) - before_mib) * 1024 / self.clients, 2)

    def drive(self, publishers: list[Publisher], subscribers: list[Subscriber], want: int) -> Outcome:
        stall, limit = self.options.stall, self.options.limit
        driven = drive(publishers, subscribers, want, self.meter, stall=stall, limit=limit)
        return Outcome(want, driven.got, self.meter, driven.cut)
