"""Events that a server can never take: they are dead letters, and the others of their batch arrive."""

from __future__ import annotations

import time

import pytest

from pybroker.broker import events
from pybroker.webhook import Sink
from pybroker.webhook.parcels import Delivery
from pybroker.webhook.spool.queue import BATCH_BYTES, queue_for

from .servers import Rabbit, Server
from .support import bodies, drained, payloads, prepare, published, pusher, pushers


async def test_an_event_that_is_too_large_for_nats(nats, start, tmp_path) -> None:
    await prepare(nats)
    sink = await start(pusher(tmp_path, nats))
    large = events.MessagePublished(
        at=time.time(), topic="t", payload=b"x" * 1_100_000, qos=0, retain=False, publisher=None
    )
    for event in (published(1), large, published(2)):
        sink.offer(event)
    stats = await drained(sink)
    assert (stats.succeeded, stats.dead, stats.retries) == (2, 1, 0)
    assert payloads(await bodies(nats, 2)) == [1, 2]


async def test_names_that_amqp_cannot_carry(rabbit, start, tmp_path) -> None:
    await prepare(rabbit)
    rules = "events = [{ event = on_message_publish }]"
    more = 'exchange.name = "{topic}", retry.first = 20ms'
    sink = await start(*pushers(tmp_path, f'rabbit {{ url = "{rabbit.url}", {rules}, {more} }}'))
    for number in range(20):
        sink.offer(published(number, "x" * 300 if number % 2 else "events"))
    stats = await drained(sink)
    assert (stats.succeeded, stats.dead) == (10, 10)


async def test_a_spool_that_was_another_backends(server: Server, start, tmp_path) -> None:
    """What waits was addressed for NATS; the name and the spool now belong to something else."""
    await prepare(server)
    spool = f'spool.path = "{tmp_path}/spool"'
    rules = "events = [{ event = on_message_publish }]"
    away = f'a {{ backend = nats, url = "nats://127.0.0.1:9", {rules}, {spool} }}'
    first = Sink(pushers(tmp_path, away))
    await first.start()
    first.offer(published(1))
    await first.stop(0)

    own = 'exchange.name = "events"' if isinstance(server, Rabbit) else ""
    kind = type(server).__name__.lower()
    here = f'a {{ backend = {kind}, url = "{server.url}", {rules}, {spool}, {own} }}'
    sink = await start(*pushers(tmp_path, here))
    sink.offer(published(2))
    stats = await drained(sink)
    lost = 0 if kind == "nats" else 1
    assert (stats.succeeded, stats.dead) == (2 - lost, lost)


@pytest.mark.parametrize("order", ["none", "client", "topic"])
def test_a_batch_ends_where_it_has_many_bytes(order) -> None:
    queue = queue_for(order)
    body = b"x" * (BATCH_BYTES // 3)
    for number in range(10):
        queue.put(Delivery(number, "", 0.0, "", "t", "c", (), body))
    taken = []
    while batch := queue.take(100):
        assert 1 <= len(batch) <= 4
        taken += [one.seq for one in batch]
        queue.finished(batch)
    assert taken == list(range(10))
    for number in range(10):
        queue.put(Delivery(number, "", 0.0, "", "t", "c", (), body))
    assert len(queue.clear()) == 10


async def test_an_http_endpoint_gets_no_addresses() -> None:
    from pybroker.webhook.http.packing import Packer
    from tests.webhook.samples import endpoint

    packer = Packer(endpoint("http://h/"))
    item = Delivery(1, "msg_1", 0.0, "e", "t", "c", ((":subject", "a"), ("x-a", "1")), b"{}")
    headers = packer.request([item], 0.0).headers
    assert headers["x-a"] == "1"
    assert ":subject" not in headers
