"""Kafka, against librdkafka's mock cluster."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybroker.broker import events
from pybroker.webhook import Sink
from tests.waiting import DEADLINE, until

from .servers import Kafka, running
from .support import drained, published, pusher, pushers


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[Kafka]:
    pytest.importorskip("confluent_kafka", reason='pip install "pybroker[kafka]"')
    server = Kafka(tmp_path / "server")
    with running(server):
        yield server


def consume(server: Kafka, topic: str, count: int):
    """Until ``count`` different events have been read; those that were given up may have arrived twice."""
    from confluent_kafka import Consumer

    where = f"127.0.0.1:{server.port}"
    consumer = Consumer({"bootstrap.servers": where, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found = []
    while len({message.value() for message in found}) < count:
        for message in consumer.consume(count, timeout=1):
            assert message.error() is None, message.error()
            found.append(message)
    consumer.close()
    return found


async def read(server: Kafka, topic: str, count: int):
    return await asyncio.wait_for(asyncio.to_thread(consume, server, topic, count), DEADLINE)


async def test_every_event_arrives_once_and_each_client_in_order(kafka, start, tmp_path) -> None:
    more = 'topic = "mqtt.{action}", headers { user = "{username}" }, order = client'
    sink = await start(pusher(tmp_path, kafka, more))
    for number in range(2000):
        sink.offer(published(number, client=events.Client(random.choice("abc"), "ann")))
        if number % 50 == 0:
            await asyncio.sleep(0)
    stats = await drained(sink)
    assert (stats.succeeded, stats.retries, stats.dead) == (2000, 0, 0)
    found = await read(kafka, "mqtt.message_publish", 2000)
    assert sorted(int(json.loads(one.value())["payload"]) for one in found) == list(range(2000))
    for client in (b"a", b"b", b"c"):
        theirs = [int(json.loads(one.value())["payload"]) for one in found if one.key() == client]
        assert theirs == sorted(theirs)
    headers = dict(found[0].headers())
    assert headers["id"].startswith(b"msg_")
    assert headers["user"] == b"ann"


async def test_a_stopped_cluster_is_waited_for(kafka, start, tmp_path) -> None:
    sink = await start(pusher(tmp_path, kafka, "topic = t"))
    sink.offer(published(0))
    await drained(sink)
    kafka.pause()
    for number in range(1, 500):
        sink.offer(published(number))
    await until(lambda: sink.stats()[0].state == "failing")
    kafka.resume()
    assert (await drained(sink)).succeeded == 500
    await read(kafka, "t", 500)


async def test_a_cluster_that_is_away(start, tmp_path) -> None:
    pytest.importorskip("confluent_kafka")
    events = "events = [{ event = on_message_publish }]"
    text = f'kafka {{ url = "kafka://127.0.0.1:9", topic = t, cancel_timeout = 500ms, {events} }}'
    sink = await start(*pushers(tmp_path, text))
    sink.offer(published(1))
    await until(lambda: sink.stats()[0].tries and sink.stats()[0].last_failure)
    async with asyncio.timeout(10):
        (left,) = await sink.stop(0)
    assert left.events == 1


async def test_an_event_that_is_too_large_is_dead_and_the_others_arrive(kafka, start, tmp_path) -> None:
    more = "topic = t, client { message.max.bytes = 2000 }, body.encoding = base64"
    sink = await start(pusher(tmp_path, kafka, more))
    for number in range(20):
        event = published(number)
        if number % 2:
            event = events.MessagePublished(
                at=event.at, topic="t", payload=b"x" * 4000, qos=0, retain=False, publisher=None
            )
        sink.offer(event)
    stats = await drained(sink)
    assert (stats.succeeded, stats.dead) == (10, 10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kafka { }", "topic is missing"),
        ('kafka { topic = t, url = "kafka://user:p@h:1" }', "credentials go into client"),
        ('kafka { topic = t, url = "http://h:1" }', "kafka://HOST:PORT"),
    ],
)
def test_settings_that_cannot_work(tmp_path, text, said) -> None:
    with pytest.raises(ValueError, match=said):
        Sink(pushers(tmp_path, text))


async def test_a_setting_that_librdkafka_does_not_know(kafka, start, tmp_path) -> None:
    sink = await start(pusher(tmp_path, kafka, 'topic = t, client { "no.such.thing" = 1 }'))
    sink.offer(published(1))
    await until(lambda: "no.such.thing" in sink.stats()[0].last_failure)
