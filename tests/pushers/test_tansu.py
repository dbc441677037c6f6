"""Kafka's protocol by a server of its own: over TLS, stopped and killed in mid-burst."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from pybroker.webhook import Sink
from tests.waiting import DEADLINE, until

from .servers import Tansu, running
from .support import drained, published, pusher, pushers

pytest.importorskip("confluent_kafka", reason='pip install "pybroker[kafka]"')

KAFKA = "topic = mqtt, cancel_timeout = 2s"


@pytest.fixture
def tansu(tmp_path: Path) -> Iterator[Tansu]:
    with running(Tansu(tmp_path / "server")) as server:
        yield server


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Tansu]:
    """Behind a relay that ends TLS: the server itself is in the clear."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    server = Tansu(tmp_path / "server")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    front = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    server.advertised = front.sockets[0].getsockname()[1]
    with running(server):
        yield server
        front.close()


def read(server: Tansu, enough: Callable[[set[int]], bool], more: dict[str, str]) -> set[int]:
    """The payloads that have arrived, until they are enough."""
    from confluent_kafka import Consumer, TopicPartition

    where = server.url.removeprefix("kafka://")
    consumer = Consumer({"bootstrap.servers": where, "group.id": "t", **more})
    partitions = consumer.list_topics("mqtt", timeout=DEADLINE).topics["mqtt"].partitions
    consumer.assign([TopicPartition("mqtt", number, 0) for number in partitions])
    found: set[int] = set()
    deadline = time.monotonic() + DEADLINE
    while not enough(found) and time.monotonic() < deadline:
        records = consumer.consume(500, timeout=1)
        found |= {int(json.loads(record.value())["payload"]) for record in records}
    consumer.close()
    return found


async def arrived(server: Tansu, enough: Callable[[set[int]], bool], **more: str) -> set[int]:
    return await asyncio.to_thread(read, server, enough, {k.replace("_", "."): v for k, v in more.items()})


async def offer(sink: Sink, first: int, count: int) -> None:
    for number in range(first, first + count):
        sink.offer(published(number))
        if number % 50 == 0:
            await asyncio.sleep(0)


async def test_a_server_that_is_stopped_during_a_burst(tansu, start, tmp_path) -> None:
    sink = await start(pusher(tmp_path, tansu, KAFKA, kind="kafka"))
    await offer(sink, 0, 500)
    await until(lambda: sink.stats()[0].succeeded > 100)
    tansu.pause()
    await offer(sink, 500, 500)
    await until(lambda: sink.stats()[0].last_failure)
    assert sink.stats()[0].adds_up
    tansu.resume()
    stats = await drained(sink)
    assert (stats.succeeded, stats.dead, stats.dropped) == (1000, 0, 0)
    every = set(range(1000))
    assert await arrived(tansu, lambda found: every <= found) == every


async def test_a_server_that_is_killed_in_mid_burst(tansu, start, tmp_path) -> None:
    """It forgets what it had; what it had not acknowledged comes to the one that is started anew."""
    sink = await start(pusher(tmp_path, tansu, f'{KAFKA}, spool.path = "{tmp_path}/spool"', kind="kafka"))
    await offer(sink, 0, 500)
    await until(lambda: sink.stats()[0].succeeded > 100)
    tansu.kill()
    await offer(sink, 500, 500)
    await until(lambda: sink.stats()[0].last_failure)
    before = sink.stats()[0].succeeded
    await asyncio.to_thread(tansu.start)
    stats = await drained(sink)
    assert (stats.succeeded, stats.dead, stats.dropped) == (1000, 0, 0)
    found = await arrived(tansu, lambda found: before + len(found) >= 1000)
    assert set(range(500, 1000)) <= found


async def test_tls(secure, start, tmp_path) -> None:
    more = f'{KAFKA}, tls.cacertfile = "{tmp_path}/ca.pem"'
    sink = await start(pusher(tmp_path, secure, more, kind="kafka"))
    await offer(sink, 0, 100)
    assert (await drained(sink)).succeeded == 100
    every = set(range(100))
    client = {"security_protocol": "ssl", "ssl_ca_location": f"{tmp_path}/ca.pem"}
    assert await arrived(secure, lambda found: every <= found, **client) == every


async def test_a_server_that_is_not_trusted(secure, start, tmp_path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    text = f'url = "{secure.url}", {KAFKA}, tls.cacertfile = "{tmp_path}/other.pem"'
    (one,) = pushers(tmp_path, f"kafka {{ {text}, events = [{{ event = on_message_publish }}] }}")
    sink = await start(one)
    sink.offer(published(1))
    await until(lambda: "certificate verify failed" in sink.stats()[0].last_failure)
    assert sink.stats()[0].succeeded == 0
