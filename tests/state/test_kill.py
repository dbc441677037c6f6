"""``kill -9`` in the middle of traffic, again and again: what was acknowledged is there, and once where it
was of QoS 2."""

from __future__ import annotations

import asyncio
import random

import pytest

from pybroker.broker.packets.model import Will

from .client import Keeping
from .conftest import Keeper

TOPICS = 5


@pytest.mark.parametrize(("sync", "loop"), [("interval", "asyncio"), ("always", "uvloop")])
async def test_nothing_acknowledged_is_lost(keeper: Keeper, sync: str, loop: str) -> None:
    await crash(keeper, sync, loop, rounds=6)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("sync", ["interval", "always"])
async def test_nothing_acknowledged_is_lost_in_fifty_crashes(keeper: Keeper, sync: str, loop: str) -> None:
    await crash(keeper, sync, loop, rounds=50)


async def crash(keeper: Keeper, sync: str, loop: str, rounds: int) -> None:
    rng = random.Random(rounds)
    keeper.sync, keeper.loop, keeper.cache = sync, loop, 50
    port = await keeper.start()
    assert keeper.has_uvloop is (loop == "uvloop")
    publisher, reader, away = Keeping("p"), Keeping("r", 4), Keeping("away")
    for client in (publisher, reader, away):
        await client.connect(port)
        assert not client.present
    await reader.subscribe("t/#", 2)
    await reader.subscribe("w", 2)
    await away.subscribe("t/+", 1)
    await away.drop()

    traffic = Traffic(publisher, rng)
    toggler = Toggler(rng)
    mortals = Mortals()
    for round in range(rounds):
        if round:
            port = await keeper.start()
            for client in (reader, publisher):
                await client.connect(port)
                assert client.present
        await toggler.connect(port)
        await mortals.connect(port)
        reader.acknowledges = rng.random() < 0.8
        toggling = asyncio.create_task(toggler.run())
        await traffic.run(rng.uniform(0.05, 0.5))
        await mortals.leave_some(rng)
        await keeper.kill()
        for client in (publisher, reader, toggler.client, *mortals.connected):
            await client.gone()
        mortals.died()
        await asyncio.gather(toggling, return_exceptions=True)

    port = await keeper.start()
    reader.acknowledges = True
    for client in (publisher, reader, away):
        await client.connect(port)
        assert client.present
    await publisher.until(lambda: not publisher.unanswered)
    everything = set(range(traffic.published))
    await reader.until(lambda: everything <= {int(m.payload) for m in reader.on("t/")})
    await reader.until(lambda: len(reader.on("w")) == len(mortals.due))
    assert sorted(m.payload for m in reader.on("w")) == sorted(mortals.due)
    await away.until(lambda: everything <= set(away.numbers))

    for qos in (1, 2):
        mine = [int(m.payload) for m in reader.on("t/") if m.qos == qos]
        first_times = list(dict.fromkeys(mine))
        assert first_times == sorted(first_times)
        if qos == 2:
            assert mine == first_times, "a QoS 2 message came twice"
    last = Keeping("last")
    await last.connect(port, clean=True)
    await last.subscribe("r/#", 1)
    await last.until(lambda: len(last.messages) == len(traffic.retained))
    assert {m.topic: int(m.payload) for m in last.messages} == traffic.retained
    await toggler.connect(port)
    await toggler.check(publisher)
    assert "damaged" not in await keeper.stop()


class Traffic:
    """Numbered messages of QoS 1 and 2, and retained ones."""

    def __init__(self, publisher: Keeping, rng: random.Random) -> None:
        self.publisher = publisher
        self.published = 0
        self.retained: dict[str, int] = {}
        self._rng = rng

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            for _ in range(20):
                if len(self.publisher.unanswered) > 200:
                    break
                qos = self._rng.choice((1, 2))
                self.publisher.publish(f"t/{self.published % TOPICS}", b"%d" % self.published, qos)
                self.published += 1
            topic = f"r/{self._rng.randrange(10)}"
            self.retained[topic] = self.published
            self.publisher.publish(topic, b"%d" % self.published, 1, retain=True)
            await asyncio.sleep(0.001)


class Toggler:
    """Subscribes and unsubscribes; what was acknowledged last for each filter must hold."""

    def __init__(self, rng: random.Random) -> None:
        self.client = Keeping("toggler")
        self.wanted: dict[str, bool | None] = {}
        """Filter to whether it is subscribed; None: not known, the answer never came."""
        self._rng = rng

    async def connect(self, port: int) -> None:
        await self.client.connect(port)
        assert self.client.present is bool(self.wanted)

    async def run(self) -> None:
        while True:
            topic = f"x/{self._rng.randrange(20)}"
            on = self._rng.random() < 0.6
            self.wanted[topic] = None
            await (self.client.subscribe(topic, 1) if on else self.client.unsubscribe(topic))
            self.wanted[topic] = on

    async def check(self, publisher: Keeping) -> None:
        self.client.messages.clear()
        for topic in self.wanted:
            publisher.publish(topic, b"0", 1)
        await publisher.until(lambda: not publisher.unanswered)
        on = {topic for topic, wanted in self.wanted.items() if wanted}
        off = {topic for topic, wanted in self.wanted.items() if wanted is False}
        await self.client.until(lambda: on <= {m.topic for m in self.client.messages})
        assert not off & {m.topic for m in self.client.messages}


class Mortals:
    """Clients with wills of QoS 2, some of which take their leave before the broker is killed."""

    def __init__(self) -> None:
        self.connected: list[Keeping] = []
        self.due: list[bytes] = []
        """The wills that have to be published, each once."""
        self._count = 0

    async def connect(self, port: int) -> None:
        for _ in range(3):
            self._count += 1
            client = Keeping(f"mortal-{self._count}")
            await client.connect(port, will=Will("w", b"%d" % self._count, 2))
            self.connected.append(client)

    async def leave_some(self, rng: random.Random) -> None:
        """One says goodbye, and one is cut off."""
        rng.shuffle(self.connected)
        await self.connected.pop().leave()
        cut_off = self.connected.pop()
        self._will_of(cut_off)
        await cut_off.drop()

    def died(self) -> None:
        for client in self.connected:
            self._will_of(client)
        self.connected.clear()

    def _will_of(self, client: Keeping) -> None:
        self.due.append(client.client_id.removeprefix("mortal-").encode())
