"""docs/events.md: the backend that is written there works, and is short."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybroker.broker.config import load
from tests.waiting import DEADLINE, until

from .support import drained, published

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python)?\n(.*?)```", PAGE, re.DOTALL)
NATS, KAFKA = [code for kind, code in BLOCKS if kind == "python"]
FILES = [code for kind, code in BLOCKS if "event_pusher" in code]


@pytest.fixture
def cluster() -> Iterator[str]:
    """librdkafka's own: it lives as long as this producer."""
    library = pytest.importorskip("confluent_kafka", reason="pip install confluent-kafka")
    producer = library.Producer({"test.mock.num.brokers": "1"})
    brokers = producer.list_topics(timeout=10).brokers
    yield ",".join(f"{one.host}:{one.port}" for one in brokers.values())
    del producer


async def test_the_backend_of_the_page(cluster, start, tmp_path, monkeypatch) -> None:
    pytest.importorskip("aiokafka", reason="pip install aiokafka")
    assert len(KAFKA.splitlines()) < 40
    (tmp_path / "kafka_backend.py").write_text(KAFKA)
    monkeypatch.syspath_prepend(tmp_path)
    (text,) = [one for one in FILES if "kafka_backend" in one]
    path = tmp_path / "pybroker.conf"
    path.write_text(text.replace("127.0.0.1:9092", cluster))
    sink = await start(*load(path).event_pushers)
    for number in range(500):
        sink.offer(published(number))
    assert (await drained(sink)).succeeded == 500
    found = await asyncio.to_thread(consume, cluster, "mqtt", 500)
    assert {key for key, _ in found} == {b"dev-17"}
    assert sorted(int(json.loads(body)["payload"]) for _, body in found) == list(range(500))


async def test_the_program_that_makes_a_stream_and_reads_it(nats, start, tmp_path) -> None:
    """Before it there is none, and the event waits; then the program prints it."""
    path = tmp_path / "pybroker.conf"
    path.write_text(
        f'event_pusher.nats {{ url = "{nats.url}", events = [{{ event = on_message_publish }}] }}'
    )
    sink = await start(*load(path).event_pushers)
    sink.offer(published(1, "sensors/1"))
    await until(lambda: "JetStream" in sink.stats()[0].last_failure)
    (tmp_path / "reader.py").write_text(NATS.replace("nats://127.0.0.1:4222", nats.url))
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-u", str(tmp_path / "reader.py"), stdout=asyncio.subprocess.PIPE
    )
    assert reader.stdout is not None
    try:
        line = await asyncio.wait_for(reader.stdout.readline(), DEADLINE)
        assert line.startswith(b"mqtt.sensors.1 {'Nats-Msg-Id'")
        assert (await drained(sink)).succeeded == 1
    finally:
        reader.kill()
        await reader.wait()


def consume(servers: str, topic: str, count: int) -> list[tuple[bytes | None, bytes]]:
    from confluent_kafka import Consumer

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found = []
    while len(found) < count:
        for message in consumer.consume(count - len(found), timeout=30):
            assert message.error() is None, message.error()
            found.append((message.key(), message.value()))
    consumer.close()
    return found


@pytest.mark.parametrize("text", FILES)
def test_the_examples_load_without_warnings(tmp_path, text) -> None:
    path = tmp_path / "pybroker.conf"
    path.write_text(text)
    assert load(path, environ={"RABBIT_PASSWORD": "p"}).warnings == ()
