"""The whole broker: makes its parts from the settings, and starts, reloads and stops them in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from pybroker.webhook.body.signature import SecretError
from pybroker.webhook.http.client import open_transport
from pybroker.webhook.http.transport import MakeTransport
from pybroker.webhook.loading import LoadError
from pybroker.webhook.metrics import EndpointStats
from pybroker.webhook.push.store import StoreError
from pybroker.webhook.settings import SettingsError
from pybroker.webhook.spool.files import SpoolError

from .access.errors import AccessError
from .clock import Clock
from .cluster.status import status_of_all
from .config.changes import Change, compare
from .config.settings import Settings
from .delivery.outbox import HoldingPending
from .engine.channel import Channel
from .engine.engine import Engine
from .faults.channel import WatchedChannel
from .faults.outage import Outage
from .faults.rules import Faults
from .faults.shared import SharedFaults
from .live.feed import Feed
from .live.numbers import Lag, own_numbers, started
from .live.packets import LastPackets
from .loop_clock import LoopClock
from .outgoing.nats import NatsError
from .outgoing.tls import TlsError
from .packets.reasons import ReasonCode
from .part import Part
from .parts.activity import Activity
from .parts.admission import Admission
from .parts.bridges import Bridges
from .parts.listeners import Listeners
from .parts.plugins import Plugins
from .parts.presence import Presence
from .parts.presets import Presets
from .parts.state import Overdue, State
from .parts.sys_topics import SysTopics
from .parts.webhooks import Webhooks
from .parts.workers import Arrivals, Place, Workers
from .plugins.errors import PluginError
from .rest.part import PrivateRest, Rest
from .rest.served import End, Served
from .state.errors import StateError
from .transport.errors import ListenError
from .transport.listener import OpenChannel

if TYPE_CHECKING:
    from .cluster.node import Node
    from .parts.cluster import ClusterMember
    from .rest.workers import Workers as AllWorkers

START_ERRORS = (
    AccessError,
    ListenError,
    LoadError,
    NatsError,
    PluginError,
    SecretError,
    SettingsError,
    SpoolError,
    StateError,
    StoreError,
    TlsError,
)
"""The errors that prevent a start: each is one line that names the cause and the part."""


class App:
    """One broker. Create and start it in the event loop that serves it; both may raise any of START_ERRORS.
    Tests can pass in the clock, the transport of webhooks, and the class of channels."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        webhook_transport: MakeTransport = open_transport,
        faults: Faults | None = None,
        open_channel: OpenChannel | None = None,
        place: Place | None = None,
    ) -> None:
        """``place``: which of the processes of a broker this is."""
        self.settings = settings
        self.end: End | None = None
        """Stops or restarts the program when HTTP asks for it; set by a program that can."""
        self.clock = clock or LoopClock(asyncio.get_running_loop())
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        pending = HoldingPending() if settings.sqlite is not None else None
        self.engine = Engine(self.clock, self._spawn, settings.mqtt, settings.limits, pending=pending)
        self.engine.connection_limits.set(settings.limits, settings.listeners, self.clock.monotonic())
        self.faults = faults or (Faults() if settings.faults is not None else None)
        if open_channel is None:
            open_channel = Channel if self.faults is None else partial(WatchedChannel, self.faults, None)
        self.workers = (
            Workers(self.engine, place, self._own_numbers, keeps=settings.sqlite is not None)
            if place is not None
            else None
        )
        self.cluster = self._cluster_member(settings)
        self.listeners = Listeners(
            self.engine, settings, open_channel, self.workers, place.sockets if place is not None else {}
        )
        self.bridges = Bridges(self.engine, settings)
        self.outage = Outage(self.engine, self.listeners.all, self.bridges)
        self.start_faults()
        if self.workers is not None and self.faults is not None:
            share_faults(self.workers.node, self.faults)
        self.admission = Admission(self.engine, settings, self.listeners.port_of)
        self.webhooks = Webhooks(self.engine, settings, webhook_transport)
        served = self._served()
        self.rest = Rest(served, settings.http_server)
        private = (
            (PrivateRest(served, place.http_path(place.index)),) if place is not None and place.http else ()
        )
        self.state = State(self.engine, settings, retained=place is None or place.index == 0)
        self.sys_topics = SysTopics(
            self.engine,
            settings.sys.interval,
            self._sys_values,
            self.node.sys_values if self.node is not None else tuple,
            lambda: self.cluster is None or self.cluster.node.is_first,
        )
        self.parts: tuple[Part, ...] = (
            self.state,
            *([self.workers] if self.workers is not None else ()),
            *([self.cluster] if self.cluster is not None else ()),
            self.webhooks,
            self.admission,
            self.sys_topics,
            Presence(self.engine, settings.sys),
            Overdue(self.state),
            Plugins(self.admission),
            Activity(self.engine, settings),
            Presets(self.engine, settings),
            self.bridges,
            self.listeners,
            *([Arrivals(self.workers, self.listeners)] if self.workers is not None else ()),
            *private,
            self.rest,
        )
        """In the order of their start."""

    @property
    def node(self) -> Node | None:
        """This process as one of several that are one broker."""
        if self.cluster is not None:
            return self.cluster.node
        return self.workers.node if self.workers is not None else None

    async def start(self) -> None:
        """Start every part, the listeners last. If it raises, nothing stays open."""
        self.engine.start()
        try:
            for part in self.parts:
                await part.start()
        except BaseException:
            await self.stop(grace=0)
            raise

    def start_faults(self) -> None:
        """Put the configuration's faults into force, and no others."""
        if self.faults is not None:
            self.faults.clear()
            self.faults.restart = self.outage.restart
            for fault in self.settings.faults or ():
                self.faults.add(fault)

    async def stop(self, grace: float | None = None) -> list[str]:
        """Accept no more clients, send DISCONNECT to those that are connected [MQTT-4.13.1-1], and give the
        webhooks ``grace`` seconds (None: as configured) to send their events. Returns a line for each thing
        that could not be finished."""
        for part in reversed(self.parts):
            await part.leave()
        for channel in list(self.engine.channels):
            channel.close(ReasonCode.SERVER_SHUTTING_DOWN, "server_shutdown", "the broker is stopping")
        await self.state.settle()
        for channel in list(self.engine.parting):
            channel.link.abort()
        left = [line for part in reversed(self.parts) for line in await part.stop(grace)]
        for task in self._tasks:
            task.cancel()
        self.clock.stop()
        return left

    async def reload(self, new: Settings) -> list[Change]:
        """Use ``new`` as far as possible without a restart. Returns the changes, and whether each is in
        force. The caller, who has set up the log, applies `log`. Raises one of START_ERRORS; then nothing has
        changed."""
        async with self._reloading:
            settings, changes = compare(self.settings, new)
            ready = [await part.prepare(settings) for part in reversed(self.parts)]

            # From here on nothing can fail.
            for apply in reversed(ready):
                apply()
            self.engine.use(settings.mqtt, settings.limits)
            self.engine.connection_limits.set(settings.limits, settings.listeners, self.clock.monotonic())
            self.settings = settings
            return changes

    def _cluster_member(self, settings: Settings) -> ClusterMember | None:
        if settings.cluster is None:
            return None
        from .parts.cluster import ClusterMember

        keeps = settings.sqlite is not None
        return ClusterMember(self.engine, settings.cluster, self._own_numbers, keeps=keeps)

    def nodes(self) -> list[dict[str, Any]]:
        """How each node of this broker is, worker or host; see `status_of_all` for the keys. A broker of one
        process is one node."""
        if self.workers is not None:
            return self.workers.status()
        if self.cluster is not None:
            return status_of_all(self.cluster.node)
        own = {"name": "pybroker", "answers": True, "silent_for": 0.0, "waiting_bytes": 0}
        return [{**own, "up_since": started(self.engine), **own_numbers(self.engine)}]

    def _served(self) -> Served:
        return Served(
            engine=self.engine,
            settings=lambda: self.settings,
            reload=self.reload,
            webhooks=lambda: self.webhooks.sink,
            registrations=lambda: self.webhooks.push.registry if self.webhooks.push.is_on else None,
            bridges=lambda: self.bridges,
            listeners=self.listeners.all,
            faults=self.faults,
            feed=Feed(self.engine),
            lag=Lag(self.engine),
            packets=LastPackets(self.engine),
            end=lambda: self.end,
            webhook_stats=self._webhook_stats,
            nodes=self.nodes,
            workers=self._all_workers(),
        )

    def _all_workers(self) -> AllWorkers | None:
        if self.workers is None or not self.workers.place.http:
            return None
        from .rest.workers import Workers as AllWorkers  # takes aiohttp, for those who serve HTTP

        place = self.workers.place
        paths = [place.http_path(index) for index in range(place.count)]
        return AllWorkers(self.workers.owner_of, paths, place.index)

    def _sys_values(self) -> Iterable[tuple[str, str]]:
        for part in self.parts:
            yield from part.sys_values()

    def _own_numbers(self) -> dict[str, Any]:
        return {
            "overview": own_numbers(self.engine),
            "started": started(self.engine),
            "sys": self.sys_topics.values(),
            "webhooks": [stats.to_dict() for stats in self.webhooks.sink.stats()],
        }

    def _webhook_stats(self) -> list[EndpointStats]:
        own = self.webhooks.sink.stats()
        return own if self.workers is None else self.workers.webhook_stats(own)

    def _spawn(self, answer: Awaitable[Any], then: Callable[[Any], None]) -> None:
        task = asyncio.ensure_future(_hand_on(answer, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def share_faults(node: Node, faults: Faults) -> None:
    """Have the same faults in all processes of a broker."""
    node.share("faults", SharedFaults(faults, partial(node.say, "faults"), node.routes_known))


async def _hand_on(answer: Awaitable[Any], then: Callable[[Any], None]) -> None:
    then(await answer)
