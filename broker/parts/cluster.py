"""This process as one node of a cluster: several hosts that are one broker."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..cluster.kv import DirectoryError, KvDirectory
from ..cluster.nats import JoinError, NatsBus
from ..cluster.node import Node
from ..config.settings import ClusterSettings
from ..engine.engine import Engine
from ..outgoing.nats import NatsError, NatsServers
from ..part import Part

if TYPE_CHECKING:
    from nats.aio.client import Client

log = logging.getLogger("pybroker.cluster")

PATIENCE = 3.0
"""Seconds that a start waits for NATS, and then for the other nodes."""
POLL = 0.005


class ClusterMember(Part):
    """The node and its way to the others."""

    def __init__(
        self, engine: Engine, settings: ClusterSettings, measure: Callable[[], dict[str, Any]], *, keeps: bool
    ) -> None:
        """``keeps``: what is acknowledged is on disk. Raises NatsError and TlsError."""
        if find_spec("nats") is None:
            what_to_do = 'install it with: pip install "pybroker[nats]"'
            raise NatsError(f"cluster: engine = nats needs the package nats-py; {what_to_do}")
        self._engine = engine
        servers = NatsServers(
            settings.servers,
            "cluster",
            url_key="servers",
            tls=settings.tls,
            credentials=settings.credentials,
            nkey=settings.nkey,
            username=settings.username,
            password=settings.password,
            token=settings.token,
            websockets=False,
        )
        self._replicas = settings.replicas
        self._directory: KvDirectory | None = None
        if settings.sessions == "move":
            self._directory = KvDirectory(settings.name, self._client, self._in_background)
        self.bus = NatsBus(servers, settings.name, settings.node, self._prepare)
        self.node = Node(
            engine,
            settings.node,
            int.from_bytes(os.urandom(7)) << 8,
            owns_retained=False,
            keeps=keeps,
            refuses_alone=settings.when_alone == "refuse",
            measure=measure,
            directory=self._directory,
        )

    async def start(self) -> None:
        self.node.start()
        await self.bus.open(self.node)
        try:
            async with asyncio.timeout(PATIENCE):
                await self.bus.first_try.wait()
        except TimeoutError:
            log.warning("NATS does not answer; node %s begins alone", self.node.name)
        if self.bus.is_refused:
            raise NatsError(f"cluster: {self.bus.trouble}")
        try:
            async with asyncio.timeout(PATIENCE):
                while self.bus.is_joined and not (self.node.is_ready or self._begins_all()):  # noqa: ASYNC110
                    await asyncio.sleep(POLL)
        except TimeoutError:
            log.warning("not all nodes have told what they know; node %s begins", self.node.name)
        self.node.retained.take_own()

    async def _prepare(self) -> None:
        """Make the directory of sessions, if nobody has."""
        if self._directory is None:
            return
        try:
            await self._directory.make(self._replicas)
        except DirectoryError as error:
            what_to_do = "or set cluster.sessions = stay"
            raise JoinError(f"the directory of sessions cannot be kept: {error}, {what_to_do}") from error
        except ConnectionError as error:
            raise ConnectionError(f"the directory of sessions does not answer: {error}") from error

    def _client(self) -> Client | None:
        return self.bus.client

    def _in_background(self, work: Awaitable[None]) -> None:
        self._engine.spawn(work, lambda _: None)

    def _begins_all(self) -> bool:
        """Whether nobody knows more than this node, so that its retained messages count: it is the first
        that begins, or the first by name of those that begin now."""
        others = self.node.peers.values()
        return self.node.is_first and not any(peer.numbers.get("knows", True) for peer in others)

    def sys_values(self) -> Iterable[tuple[str, str]]:
        return (("cluster/nodes", str(1 + self.node.reachable)),)

    async def stop(self, grace: float | None) -> list[str]:
        self._engine.flush()
        self.node.stop()
        await self.bus.close()
        return []
