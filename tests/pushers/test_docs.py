"""docs/events.md: the backend that is written there works, and is short."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybroker.broker.config import load

from .support import drained, published

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python)?\n(.*?)```", PAGE, re.DOTALL)
(KAFKA,) = [code for kind, code in BLOCKS if kind == "python"]
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
