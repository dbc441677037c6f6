"""What the tests of event pushers share: endpoints read from a file, bursts, and consumers of each server."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from pybroker.broker import events
from pybroker.broker.config import load
from pybroker.webhook import EndpointStats, Sink
from pybroker.webhook.settings import WebhookSettings
from tests.waiting import DEADLINE

from .servers import Nats, Rabbit, Redis, Server

CLIENT = events.Client("dev-17", "ann", protocol_version=5, keepalive=60, peer="192.0.2.7:50123")
QUICK = "retry { first = 20ms, max = 200ms }, cancel_timeout = 1s, drain_timeout = 0"


def pushers(directory: Path, text: str) -> tuple[WebhookSettings, ...]:
    """The endpoints of `event_pusher { text }`."""
    path = directory / "pybroker.conf"
    path.write_text(f"event_pusher {{\n{text}\n}}\n")
    return load(path).event_pushers


def pusher(directory: Path, server: Server, more: str = "", kind: str = "") -> WebhookSettings:
    """One that sends every message to ``server`` and tries again quickly."""
    kind = kind or type(server).__name__.lower()
    own = 'exchange.name = "events"' if kind == "rabbit" else ""
    events = "events = [ { event = on_message_publish } ]"
    (found,) = pushers(directory, f'{kind} {{ url = "{server.url}", {events}, {QUICK}\n {own}\n {more} }}')
    return found


def published(number: int, topic: str = "", client: events.Client = CLIENT) -> events.MessagePublished:
    return events.MessagePublished(
        at=time.time(),
        topic=topic or f"sensors/{number % 7}",
        payload=b"%d" % number,
        qos=1,
        retain=False,
        publisher=client,
    )


async def drained(sink: Sink) -> EndpointStats:
    await asyncio.wait_for(sink.drained(), DEADLINE)
    (stats,) = sink.stats()
    assert stats.adds_up
    return stats


def payloads(bodies: list[bytes]) -> list[int]:
    return [int(json.loads(body)["payload"]) for body in bodies]


# ---- consumers: each server's own client


async def prepare(server: Server, queue: str = "classic") -> None:
    """Make the place where events are kept until they are read."""
    if isinstance(server, Nats):
        import nats

        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="mqtt", subjects=["mqtt.>"])
        await client.close()
    elif isinstance(server, Rabbit):
        import aiormq

        connection = await aiormq.connect(server.url)
        channel = await connection.channel()
        await channel.exchange_declare("events", exchange_type="topic", durable=True)
        await channel.queue_declare("all", durable=True, arguments={"x-queue-type": queue})
        await channel.queue_bind("all", "events", "#")
        await connection.close()


async def forget_everything(rabbit: Server) -> None:
    """Delete what the tests have made."""
    import aiormq

    async with aiormq.connect(rabbit.url) as connection:
        channel = await connection.channel()
        for exchange in ("events", "presence", "chat", "group"):
            await channel.exchange_delete(exchange)
        for queue in ("all", "q", "presence", "chat", "group"):
            await channel.queue_delete(queue)


async def bodies(server: Server, at_least: int) -> list[bytes]:
    """Every body that has arrived, in the server's order; waits until there are as many."""
    read = {Redis: _of_redis, Nats: _of_nats, Rabbit: _of_rabbit}[type(server)]
    return await asyncio.wait_for(read(server, at_least), DEADLINE)


async def _of_redis(server: Server, at_least: int) -> list[bytes]:
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(server.url)
    found = await client.xrange("pybroker:events")
    await client.aclose()
    assert len(found) >= at_least
    return [fields[b"body"] for _, fields in found]


async def _of_nats(server: Server, at_least: int) -> list[bytes]:
    import nats

    client = await nats.connect(server.url)
    stream = client.jetstream()
    there = (await stream.stream_info("mqtt")).state.messages
    subscription = await stream.pull_subscribe("mqtt.>", stream="mqtt")
    found: list[bytes] = []
    while len(found) < max(there, at_least):
        messages = await subscription.fetch(500, timeout=5)
        found += [message.data for message in messages]
        for message in messages:
            await message.ack()
    await client.close()
    return found


async def _of_rabbit(server: Server, at_least: int) -> list[bytes]:
    import aiormq

    connection = await aiormq.connect(server.url)
    channel = await connection.channel()
    found: list[bytes] = []
    while True:
        message = await channel.basic_get("all", no_ack=True)
        if message.delivery_tag is None and len(found) >= at_least:
            break
        if message.delivery_tag is not None:
            found.append(message.body)
    await connection.close()
    return found
