"""``kill -9`` of either broker in the middle of traffic: what was acknowledged arrives, in order, and QoS 2
messages arrive once."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.integration.support import RunningBroker
from tests.state.client import Keeping

from .support import free_port

CONF = """
listeners.tcp {{ bind = "127.0.0.1:{port}" }}
mqtt {{ max_mqueue_len = 1000000, retry_interval = 0 }}
sys.interval = 0
log {{ to = [console], level = warn }}
sqlite {{ mounted_file_path = "{state}", sync = interval, interval = 20ms, disk_cache_size = 100 }}
"""
BRIDGE = """
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{remote}"
  proto_ver = {version}
  backoff_max = 1s
  forwards = [ {{ local_topic = "out/#", remote_topic = "" }} ]
  subscription = [ {{ remote_topic = "in/#", local_topic = "", qos = 2 }} ]
}}
"""


class Pair:
    """Two brokers with a bridge between them, each with its state on disk."""

    def __init__(self, directory: Path, version: int) -> None:
        self._directory = directory
        self._starts = 0
        self.ports = free_port(), free_port()
        self.brokers: dict[int, RunningBroker] = {}
        self._version = version

    async def start(self, number: int) -> None:
        """Broker 0 has the bridge to broker 1."""
        self._starts += 1
        directory = self._directory / str(self._starts)
        directory.mkdir()
        conf = CONF.format(port=self.ports[number], state=self._directory / f"state-{number}")
        if not number:
            conf += BRIDGE.format(remote=self.ports[1], version=self._version)
        self.brokers[number] = await asyncio.to_thread(RunningBroker, directory, conf)

    async def kill(self, number: int) -> None:
        process = self.brokers[number].process
        process.kill()
        await asyncio.to_thread(process.wait)


@pytest.mark.parametrize("version", [4, 5])
async def test_nothing_acknowledged_is_lost(tmp_path: Path, version: int) -> None:
    await crash(tmp_path, version, rounds=4)


@pytest.mark.slow
@pytest.mark.parametrize("version", [4, 5])
async def test_nothing_acknowledged_is_lost_in_thirty_crashes(tmp_path: Path, version: int) -> None:
    await crash(tmp_path, version, rounds=30)


async def crash(directory: Path, version: int, rounds: int) -> None:
    rng = random.Random(rounds)
    pair = Pair(directory, version)
    # Of each direction: who publishes, who reads, and where.
    ways = [Way("out/x", 0, 1), Way("in/x", 1, 0)]
    try:
        await pair.start(1)
        await pair.start(0)
        for way in ways:
            await way.reader.connect(pair.ports[way.there])
            await way.reader.subscribe(way.topic, 2)
            await way.publisher.connect(pair.ports[way.here])
            await way.begun()
        for _ in range(rounds):
            await asyncio.gather(*(way.publish(rng, rng.uniform(0.1, 0.5)) for way in ways))
            victim = rng.randrange(2)
            await pair.kill(victim)
            for client, where in [one for way in ways for one in way.clients()]:
                if where == victim:
                    await client.gone()
            await pair.start(victim)
            for client, where in [one for way in ways for one in way.clients()]:
                if where == victim:
                    await client.connect(pair.ports[where])
                    assert client.present
        for way in ways:
            await way.publisher.until(lambda way=way: not way.publisher.unanswered)
            wanted = set(range(way.published))
            await way.reader.until(lambda way=way, wanted=wanted: wanted <= set(way.reader.numbers))
            for qos in (1, 2):
                mine = [int(m.payload) for m in way.reader.messages if m.qos == qos]
                first_times = list(dict.fromkeys(mine))
                assert first_times == sorted(first_times)
                if qos == 2:
                    assert mine == first_times, "a QoS 2 message came twice"
    finally:
        for broker in pair.brokers.values():
            broker.stop(9)


class Way:
    """Numbered messages from one side to the other."""

    def __init__(self, topic: str, here: int, there: int) -> None:
        self.topic, self.here, self.there = topic, here, there
        self.publisher, self.reader = Keeping(f"p{here}"), Keeping(f"r{there}")
        self.published = 0

    def clients(self) -> list[tuple[Keeping, int]]:
        return [(self.publisher, self.here), (self.reader, self.there)]

    async def begun(self) -> None:
        """Return when the link is up and the bridge has subscribed: a message has come over."""
        while not self.reader.messages:
            self.publisher.publish(self.topic, b"-1", 1)
            await asyncio.sleep(0.02)

    async def publish(self, rng: random.Random, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            for _ in range(20):
                if len(self.publisher.unanswered) > 200:
                    break
                self.publisher.publish(self.topic, b"%d" % self.published, rng.choice((1, 2)))
                self.published += 1
            await asyncio.sleep(0.001)
