"""`scripts/bench pushers`: the cost of an event on its way to a real server, and the effect of a stopped
server on publishers."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from .brokers import KINDS, ROOT, Running, pybroker_command, started, variant
from .measure import Values, load, working_directory
from .process import cpu_seconds
from .results import Results

sys.path.insert(0, str(ROOT))

from tests.pushers.servers import Kafka, Nats, Rabbit, Redis, Server, running

SECTION = "pushers"
CLIENTS = 10
EVENTS = 50_000
STALL = 10.0
"""Seconds without another event after which a burst is over."""
PUBACKS = "puback --messages 5000"
PUBACK = "puback"
PUBACK_GOAL = 1.2
"""The largest p99 that is allowed, as a multiple of the p99 without a pusher."""


@dataclass(frozen=True, slots=True)
class Place:
    """The server that events go to."""

    kind: type[Server]
    library: str
    lines: str
    prepare: Callable[[str], Awaitable[None]]
    count: Callable[[str], Awaitable[int]]
    """The number of events that have arrived."""
    goal: int | None
    """Events per CPU second."""


async def _nothing(_: str) -> None: ...


async def _rabbit_queue(url: str) -> None:
    import aiormq

    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        await channel.exchange_declare("events", exchange_type="topic", durable=True)
        await channel.queue_declare("all", durable=True)
        await channel.queue_bind("all", "events", "#")


async def _rabbit_count(url: str) -> int:
    import aiormq

    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        return (await channel.queue_declare("all", passive=True)).message_count or 0


async def _nats_stream(url: str) -> None:
    import nats

    client = await nats.connect(url)
    await client.jetstream().add_stream(name="mqtt", subjects=["mqtt.>"])
    await client.close()


async def _nats_count(url: str) -> int:
    import nats

    client = await nats.connect(url)
    found = (await client.jetstream().stream_info("mqtt")).state.messages
    await client.close()
    return int(found)


async def _redis_count(url: str) -> int:
    import redis.asyncio

    async with redis.asyncio.Redis.from_url(url) as client:
        return int(await client.xlen("pybroker:events"))


async def _kafka_count(url: str) -> int:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": url.removeprefix("kafka://"), "group.id": "bench"})
    try:
        topics = consumer.list_topics("mqtt", timeout=10).topics
        marks = [
            consumer.get_watermark_offsets(TopicPartition("mqtt", number), timeout=10)
            for number in topics["mqtt"].partitions
        ]
        return sum(high for _, high in marks)
    finally:
        consumer.close()


PLACES: dict[str, Place] = {
    "rabbit": Place(Rabbit, "aiormq", "exchange.name = events", _rabbit_queue, _rabbit_count, 20_000),
    "nats": Place(Nats, "nats", "", _nats_stream, _nats_count, 30_000),
    "redis": Place(Redis, "redis", "", _nothing, _redis_count, 30_000),
    "kafka": Place(Kafka, "confluent_kafka", "topic = mqtt", _nothing, _kafka_count, None),
}
PUBACK_CASES = ("off", *(f"{name} {state}" for name in PLACES for state in ("answering", "stopped")))


def measure(results: Results, events: int = EVENTS, rounds: int = 3) -> None:
    results.begin(SECTION, [KINDS["pybroker"]])
    places = {name: place for name, place in PLACES.items() if _available(name, place)}
    for row in (*places, *(f"{PUBACK} {case}" for case in PUBACK_CASES)):
        results.forget(SECTION, row)
    for _ in range(rounds):
        results.add(SECTION, f"{PUBACK} off", "pybroker", _puback_without())
        for name, place in places.items():
            with working_directory() as directory, running(place.kind(directory)) as server:
                values = burst(name, place, server, events)
                results.add(SECTION, name, "pybroker", values)
                print(f"{name}: {'  '.join(f'{key} {value}' for key, value in values.items())}", flush=True)
                for state in ("answering", "stopped"):
                    found = puback(name, place, server, state)
                    results.add(SECTION, f"{PUBACK} {name} {state}", "pybroker", found)
    for case in PUBACK_CASES:
        p99 = results.median(SECTION, f"{PUBACK} {case}", "pybroker", "p99_us")
        print(f"PUBACK at QoS 1, {case}: p99 {p99} us", flush=True)


def _available(name: str, place: Place) -> bool:
    installed = importlib.util.find_spec(place.library) is not None
    try:
        place.kind.find()
    except BaseException as error:  # pytest's skip is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        installed = False
    if not installed:
        print(f"note: {name} is not installed", flush=True)
    return installed


@contextmanager
def broker_pushing_to(name: str, lines: str, url: str) -> Iterator[Running]:
    with working_directory() as directory:
        pusher = (
            f'event_pusher.{name} {{ url = "{url}", cancel_timeout = 2s, drain_timeout = 0, {lines}\n'
            'events = [ { event = "on_message_publish", topic = "#" } ] }'
        )
        conf = variant(directory, "webhook.enable = false", *([pusher] if name else []))
        with started("pybroker", pybroker_command(directory, conf), directory) as broker:
            yield broker


def burst(name: str, place: Place, server: Server, events: int) -> Values:
    """Publish ``events`` messages at once and wait until the server has them all."""
    each = events // CLIENTS
    want = each * CLIENTS

    async def prepare() -> None:
        await place.prepare(server.url)

    asyncio.run(prepare())
    with broker_pushing_to(name, place.lines, server.url) as broker:
        before, began = cpu_seconds(broker.pid), time.monotonic()
        published = load(broker, f"sink --clients {CLIENTS} --messages {each}")
        if "error" in published:
            return published
        arrived = _arrived(partial(_count, place, server.url), want)
        used = cpu_seconds(broker.pid) - before
        seconds = time.monotonic() - began
    return {
        "events": arrived,
        "lost": max(0, want - arrived),
        "per_cpu_s": round(arrived / used),
        "seconds": round(seconds, 2),
    }


def _count(place: Place, url: str) -> int:
    async def ask() -> int:
        return await place.count(url)

    return asyncio.run(ask())


def _arrived(count: Callable[[], int], want: int) -> int:
    found, quiet = 0, time.monotonic()
    while found < want and time.monotonic() - quiet < STALL:
        time.sleep(0.2)
        now = count()
        if now > found:
            quiet = time.monotonic()
        found = now
    return found


def _puback_without() -> Values:
    with broker_pushing_to("", "", "") as broker:
        return load(broker, PUBACKS)


def puback(name: str, place: Place, server: Server, state: str) -> Values:
    """How long a publisher at QoS 1 waits for its PUBACK while each message goes to ``server``."""
    with broker_pushing_to(name, place.lines, server.url) as broker:
        if state == "stopped":
            server.pause()
        try:
            return load(broker, PUBACKS)
        finally:
            server.resume()
