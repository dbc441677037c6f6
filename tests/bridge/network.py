"""Brokers with bridges between them, without sockets: bytes go from one to the other by hand."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pybroker.broker.bridge.bridge import Bridge
from pybroker.broker.bridge.mapping import Mapping
from pybroker.broker.bridge.settings import Address, BridgeSettings, Forward, RemoteSubscription
from pybroker.broker.bridge.uplink import Uplink
from pybroker.broker.config.settings import Settings
from pybroker.broker.engine import handlers
from pybroker.broker.engine.channel import Channel
from pybroker.broker.engine.turns import Turns
from pybroker.broker.parts.bridges import Bridges
from tests.harness import Broker

LOOP = asyncio.new_event_loop()
"""For what brokers wait for."""
MOST = 20_000
"""Packets on the wires until a message is said to go round for ever."""


class Network:
    """Several brokers. A message goes on until nobody has anything more to send."""

    def __init__(self, *names: str) -> None:
        _forget_tasks()
        self.wires: deque[tuple[Callable[[bytes], None], bytes]] = deque()
        self.poison = b""
        """Whoever is sent this by a bridge closes the connection."""
        self.tasks: list[asyncio.Task[None]] = []
        self.sites = {name: Site(self, name) for name in names}

    def __getitem__(self, name: str) -> Site:
        return self.sites[name]

    def run(self) -> None:
        """Carry everything to its end."""
        sent = 0
        self.wait()
        while self.wires:
            receive, data = self.wires.popleft()
            receive(data)
            sent += 1
            assert sent < MOST, "a message goes round for ever"
            if not self.wires:
                self.wait()

    def wait(self) -> None:
        """Let brokers go on with what they have waited for."""
        for _ in range(10):
            LOOP.run_until_complete(asyncio.sleep(0))

    def spawn(self, answer: Awaitable[Any], then: Callable[[Any], None]) -> None:
        async def go_on() -> None:
            then(await answer)

        self.tasks.append(LOOP.create_task(go_on()))

    def ring(self, *versions: int, **options: Any) -> None:
        """Each site has a bridge to the next one, and the last one to the first."""
        names = list(self.sites)
        for number, (name, version) in enumerate(zip(names, versions, strict=True)):
            self[name].bridge_to(self[names[(number + 1) % len(names)]], version, **options)
        self.run()

    def connect(self, bridge: Bridge, other: Site) -> None:
        """Give the bridge a link to this broker."""
        _Wire(self, bridge, other)

    def advance(self, seconds: float) -> None:
        for site in self.sites.values():
            site.broker.clock.advance(seconds)


def _forget_tasks() -> None:
    """Those of earlier networks wait for ever."""
    LOOP.run_until_complete(asyncio.sleep(0))  # each has begun
    for task in asyncio.all_tasks(LOOP):
        task.cancel()
    LOOP.run_until_complete(asyncio.sleep(0))


class Site:
    """One broker, its bridges, and a client that receives everything."""

    def __init__(self, network: Network, name: str, **mqtt: Any) -> None:
        self.network = network
        self.name = name
        self.broker = Broker(**mqtt)
        self.broker.engine.spawn = network.spawn
        self.broker.engine.turns = Turns(network.spawn)
        self.broker.engine.turns.now = lambda: 0.0
        self.bridges = Bridges(self.broker.engine, Settings())
        self.reader = self.broker.connect("reader")
        self.reader.subscribe("#", qos=2)
        self.publisher = self.broker.connect("publisher", 4)

    def bridge_to(
        self,
        other: Site,
        version: int,
        *,
        out: str | None = "#",
        into: str | None = "#",
        bit: bool = True,
        name: str = "",
        keepalive: int = 0,
        **more: Any,
    ) -> Bridge:
        settings = BridgeSettings(
            name or other.name,
            False,
            (Address(f"mqtt-tcp://{other.name}", "mqtt-tcp", other.name),),
            f"{self.name}.{name or other.name}",
            versions=((version, bit and version != 5),),
            keepalive=keepalive,
            forwards=(Forward(Mapping.of(out)),) if out else (),
            subscriptions=(RemoteSubscription(Mapping.of(into), 2, retain_as_published=True),)
            if into
            else (),
            **more,
        )
        self.bridges.add(settings)
        bridge = self.bridges.all[settings.name]
        self.network.connect(bridge, other)
        return bridge

    def publish(self, payload: str, topic: str = "t", qos: int = 0) -> None:
        self.publisher.send_publish(topic, payload.encode(), qos)

    def got(self) -> list[str]:
        """What has come since the last call."""
        self.publisher.packets()
        return [one.payload.decode() for one in self.reader.messages()]


class _Wire:
    """A link from a bridge to a broker."""

    def __init__(self, network: Network, bridge: Bridge, other: Site) -> None:
        version = bridge.settings.versions[0]
        served: list[Channel] = []
        uplinks: list[Uplink] = []

        def up(data: bytes) -> None:
            if network.poison and network.poison in data:
                served[0].lost()
                uplinks[0].lost()
            else:
                served[0].received(data)

        upward = _End(network, up)
        downward = _End(network, lambda data: uplinks[0].received(data))
        served.append(
            Channel(other.broker.engine, handlers, downward, listener="tcp", peer="192.0.2.1:50000")
        )
        uplink = Uplink(
            bridge,
            bridge._engine,
            bridge.settings,
            bridge.local,
            bridge.counters,
            version,
            upward,
            bridge.broker_id,
        )
        bridge._uplink = uplink
        uplinks.append(uplink)


@dataclass
class _End:
    """What one side takes for its transport."""

    network: Network
    receive: Callable[[bytes], None]

    def write(self, data: bytes) -> None:
        self.network.wires.append((self.receive, data))

    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def unsent_bytes(self) -> int:
        return 0
