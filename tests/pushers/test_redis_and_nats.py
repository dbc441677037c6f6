"""What Redis and NATS have of their own."""

from __future__ import annotations

import json

import pytest

from pybroker.webhook import Sink
from tests.waiting import until

from .support import bodies, drained, prepare, published, pusher, pushers


@pytest.fixture
async def client(redis):
    import redis.asyncio as library

    found = library.Redis.from_url(redis.url)
    yield found
    await found.aclose()


async def test_an_entry_of_a_redis_stream(redis, client, start, tmp_path) -> None:
    sink = await start(pusher(tmp_path, redis, 'stream = "s:{clientid}", headers { user = "{username}" }'))
    sink.offer(published(7, "a/b"))
    await drained(sink)
    ((_, fields),) = await client.xrange("s:dev-17")
    assert fields[b"id"].startswith(b"msg_")
    assert (fields[b"event"], fields[b"topic"], fields[b"clientid"]) == (
        b"message_publish",
        b"a/b",
        b"dev-17",
    )
    assert fields[b"user"] == b"ann"
    assert json.loads(fields[b"body"])["payload"] == "7"


async def test_a_stream_is_cut_to_about_maxlen(redis, client, start, tmp_path) -> None:
    sink = await start(pusher(tmp_path, redis, "maxlen = 100"))
    for number in range(2000):
        sink.offer(published(number))
    assert (await drained(sink)).succeeded == 2000
    assert 100 <= await client.xlen("pybroker:events") < 400


async def test_a_redis_that_is_full(redis, client, start, tmp_path) -> None:
    await client.config_set("maxmemory", "1")
    sink = await start(pusher(tmp_path, redis))
    for number in range(20):
        sink.offer(published(number))
    await until(lambda: sink.stats()[0].retries)
    assert "maxmemory" in sink.stats()[0].last_failure
    await client.config_set("maxmemory", "0")
    assert (await drained(sink)).succeeded == 20
    assert await client.xlen("pybroker:events") == 20


async def test_some_entries_of_a_batch_are_refused(redis, client, start, tmp_path) -> None:
    """A key that is no stream: its events wait, those of the others arrive."""
    await client.set("s:bad", "text")
    sink = await start(pusher(tmp_path, redis, 'stream = "s:{topic}"'))
    for number in range(40):
        sink.offer(published(number, "bad" if number % 2 else "good"))
    await until(lambda: sink.stats()[0].succeeded == 20)
    assert sink.stats()[0].queued + sink.stats()[0].in_flight == 20
    await client.delete("s:bad")
    assert (await drained(sink)).succeeded == 40
    assert (await client.xlen("s:good"), await client.xlen("s:bad")) == (20, 20)


async def test_a_password_that_is_revoked(redis, client, start, tmp_path) -> None:
    sink = await start(pusher(tmp_path, redis))
    sink.offer(published(1))
    await drained(sink)
    await client.config_set("requirepass", "secret")
    await client.client_kill_filter(_type="normal", skipme=True)
    sink.offer(published(2))
    await until(lambda: "authenticate" in sink.stats()[0].last_failure)
    await client.config_set("requirepass", "")
    assert (await drained(sink)).succeeded == 2


async def test_no_stream_takes_the_subject(nats, start, tmp_path, caplog) -> None:
    sink = await start(pusher(tmp_path, nats))
    for number in range(20):
        sink.offer(published(number))
    await until(lambda: sink.stats()[0].retries)
    assert "no stream includes this subject" in caplog.text
    await prepare(nats)
    assert (await drained(sink)).succeeded == 20
    assert len(await bodies(nats, 20)) == 20


async def test_a_repeat_is_dropped_by_the_stream(nats, start, tmp_path) -> None:
    """The same event twice, as after an acknowledgement that was lost: one message."""
    from pybroker.webhook.backends.make import sender_for
    from pybroker.webhook.parcels import Delivery

    await prepare(nats)
    sender = sender_for(pusher(tmp_path, nats))
    event = Delivery(1, "msg_1", 0.0, "message_publish", "a", "c", ((":subject", "mqtt.a"),), b"{}")
    for _ in range(3):
        await sender.send([event])
    await sender.close()
    assert await bodies(nats, 1) == [b"{}"]


@pytest.mark.parametrize(
    ("topic", "subject"),
    [
        ("a/b", "mqtt.a.b"),
        ("a.b/c d", "mqtt.a%2Eb.c%20d"),
        ("/a//b/", "mqtt._.a._.b._"),
        ("*/>", "mqtt.%2A.%3E"),
        ("ä/1", "mqtt.ä.1"),
    ],
)
def test_subjects(tmp_path, topic, subject) -> None:
    from pybroker.webhook.backends.nats import NatsBackend

    (one,) = pushers(tmp_path, "nats { events = [{ event = on_message_publish }] }")
    assert NatsBackend(one).address(published(1, topic)) == ((":subject", subject),)


async def test_a_subject_of_every_kind_is_taken(nats, start, tmp_path) -> None:
    await prepare(nats)
    sink = await start(pusher(tmp_path, nats))
    topics = ["a.b/c d", "/a//b/", "x\ty", "a/ä", "a%20b"]
    for number, topic in enumerate(topics):
        sink.offer(published(number, topic))
    assert (await drained(sink)).succeeded == len(topics)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('nats { url = "redis://h" }', "nats://HOST:PORT"),
        ('nats { credentials = "/nowhere.creds" }', "there is no file /nowhere.creds"),
        ('redis { url = "nats://h" }', "redis://HOST:PORT"),
        ('redis { url = ["redis://a", "redis://b"] }', "redis://HOST:PORT"),
    ],
)
def test_settings_that_cannot_work(tmp_path, text, said) -> None:
    with pytest.raises(ValueError, match=said):
        Sink(pushers(tmp_path, text))
