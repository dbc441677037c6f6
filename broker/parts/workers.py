"""This process as one of several that are one broker."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pybroker.webhook.metrics import EndpointStats, total

from ..cluster.handover import Handover
from ..cluster.mesh import Mesh
from ..cluster.node import Node
from ..cluster.owner import owner_of
from ..cluster.status import status_of_all
from ..engine.engine import Engine
from ..part import Part
from ..transport.arrival import Origin
from .listeners import Listeners

log = logging.getLogger("pybroker.workers")

PATIENCE = 3.0
"""Seconds that a start waits for the others."""
POLL = 0.005


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the processes this is, and what they share."""

    index: int
    """From 0 on."""
    count: int
    folder: Path
    """Where their sockets are; nobody else can look into it."""
    first: bool = True
    """Whether all begin now; else this one takes the place of one that has died."""
    sockets: Mapping[str, Sequence[socket.socket]] = field(default_factory=dict)
    """Those that all accept clients on, by the name of the listener."""
    http: bool = False
    """Whether the first of them serves HTTP."""
    replaced: int = 0
    """How many of them have died so far."""

    @property
    def names(self) -> list[str]:
        """Of all of them as nodes."""
        return [str(index) for index in range(self.count)]

    @property
    def name(self) -> str:
        return str(self.index)

    def http_path(self, index: int) -> Path:
        """Where a worker answers what the first one is asked over HTTP."""
        return self.folder / f"{index}.http"


class Workers(Part):
    """The others, and what they are told. Tells listeners where a client belongs (`arrival.Owners`)."""

    def __init__(
        self, engine: Engine, place: Place, measure: Callable[[], dict[str, Any]], *, keeps: bool
    ) -> None:
        """``keeps``: what is acknowledged is on disk."""
        self._engine = engine
        self.place = place
        # The first one's disk has the retained messages.
        owns = place.first and place.index == 0
        incarnation = int.from_bytes(os.urandom(8)) | 1
        self.node = Node(
            engine,
            place.name,
            incarnation,
            others=[name for name in place.names if name != place.name],
            is_mine=lambda client_id: self.owner_of(client_id) == place.index,
            owns_retained=owns,
            measure=measure,
            keeps=keeps,
        )
        self._mesh = Mesh(place.folder, place.name, place.names)
        self.handover: Handover | None = None

    async def start(self) -> None:
        self.node.start()
        await self._mesh.open(self.node)
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while not self.node.is_ready and loop.time() < end:  # noqa: ASYNC110 - it changes in many ways
            await asyncio.sleep(POLL)
        if not self.node.retained.knows:
            log.warning(
                "no other worker has told of retained messages; those of worker %d count", self.number
            )
            self.node.retained.take_own()

    def sys_values(self) -> Iterable[tuple[str, str]]:
        if self.place.index:
            return ()
        replaced = self.place.replaced + sum(
            max(0, peer.incarnations - 1) for peer in self.node.peers.values()
        )
        return (("workers/count", str(self.place.count)), ("workers/replaced", str(replaced)))

    async def stop(self, grace: float | None) -> list[str]:
        self._engine.flush()
        self.node.stop()
        await self._mesh.close()
        return []

    def webhook_stats(self, own: list[EndpointStats]) -> list[EndpointStats]:
        """Of all workers, an endpoint each."""
        others = [
            [EndpointStats.from_dict(one) for one in peer.numbers["webhooks"]]
            for peer in self.node.peers.values()
            if "webhooks" in peer.numbers
        ]
        return [
            total([mine, *(one for some in others for one in some if one.name == mine.name)]) for mine in own
        ]

    def status(self) -> list[dict[str, Any]]:
        """Of all workers: see `status_of_all`."""
        return status_of_all(self.node, lambda name: f"worker-{int(name) + 1}")

    def owner_of(self, client_id: str) -> int:
        return owner_of(client_id, self.place.count)

    @property
    def number(self) -> int:
        """For people: from 1 on."""
        return self.place.index + 1

    def is_mine(self, client_id: str) -> bool:
        return self.node.is_mine(client_id)

    def pass_on(
        self,
        client_id: str,
        connection: socket.socket,
        origin: Origin,
        first: bytes,
        failed: Callable[[], None],
    ) -> None:
        assert self.handover is not None
        owner = self.owner_of(client_id)
        patience = self._engine.limits.connect_timeout
        self.handover.pass_on(owner, connection, asdict(origin), first, patience, failed)


class Arrivals(Part):
    """Takes the connections that others have accepted; the last to start, as listeners are."""

    def __init__(self, workers: Workers, listeners: Listeners) -> None:
        self._workers = workers
        self._listeners = {one.settings.name: one for one in listeners}
        self._engine = workers.node.engine
        self._handover = Handover(workers.place.folder, workers.place.index, self._take)
        workers.handover = self._handover

    async def start(self) -> None:
        self._handover.open()

    async def leave(self) -> None:
        self._handover.close()

    def _take(self, connection: socket.socket, facts: dict[str, Any], first: bytes) -> None:
        origin = Origin(**{**facts, "certificate": _tuples(facts["certificate"])})
        listener = self._listeners.get(origin.listener)
        if listener is None or not listener.is_open:
            connection.close()
            return
        self._engine.spawn(listener.take(connection, origin, first), lambda _: None)


def _tuples(value: Any) -> Any:
    """A certificate as `ssl` gives it; JSON has lists for its tuples."""
    if isinstance(value, dict):
        return {name: _frozen(one) for name, one in value.items()}
    return value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
