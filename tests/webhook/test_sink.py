"""Events offered to a sink arrive at a real server, or are counted."""

from __future__ import annotations

import asyncio
import logging

import pytest

from pybroker.broker import events
from pybroker.broker.clock import ManualClock
from pybroker.webhook import Rule, SettingsError, Sink
from pybroker.webhook.body.encode import encoder
from tests.waiting import until

from .conftest import drained
from .receiver import hang, slowly
from .samples import CLIENT, SAMPLES, endpoint, published


async def test_one_post_an_event(receiver, start) -> None:
    sink = await start(endpoint(receiver.url + "/path?x=1", headers=(("X-Extra", "hello"),)))
    for event in SAMPLES.values():
        sink.offer(event)
    await drained(sink)

    plain = encoder("plain")
    assert sorted(receiver.bodies) == sorted(plain[type(e)](e).encode() for e in SAMPLES.values())
    request = receiver.requests[0]
    assert request.path == "/hook/path?x=1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-extra"] == "hello"
    assert request.headers["content-length"] == str(len(request.body))
    assert request.headers["webhook-timestamp"].isdigit()
    assert len({r.id for r in receiver.requests}) == len(SAMPLES)
    stats = sink.stats()[0]
    assert (stats.succeeded, stats.tries, stats.retries) == (len(SAMPLES), len(SAMPLES), 0)
    assert stats.response_count == len(SAMPLES)


async def test_the_configured_content_type_is_sent(receiver, start) -> None:
    sink = await start(endpoint(receiver.url, headers=(("Content-Type", "text/plain"),)))
    sink.offer(published())
    await drained(sink)
    assert receiver.requests[0].headers["content-type"] == "text/plain"


async def test_connections_are_kept_and_bounded(receiver, start) -> None:
    sink = await start(endpoint(receiver.url, pool_size=3))
    for number in range(200):
        sink.offer(published(str(number).encode()))
    await drained(sink)
    assert len(receiver.requests) == 200
    assert len(receiver.peers) <= 3


async def test_an_event_of_several_rules_is_sent_once(receiver, start) -> None:
    sink = await start(
        endpoint(receiver.url, Rule("on_message_publish", "nmq/#"), Rule("on_message_publish", "+/pub"))
    )
    sink.offer(published())
    await drained(sink)
    assert len(receiver.requests) == 1


async def test_each_endpoint_gets_what_it_asked_for(receiver, start) -> None:
    sink = await start(
        endpoint(receiver.url + "/all", name="all"),
        endpoint(receiver.url + "/connack", Rule("on_client_connack"), name="connack"),
        endpoint(receiver.url + "/off", name="off", enable=False),
    )
    sink.offer(SAMPLES["on_client_connack"])
    sink.offer(published())
    await drained(sink)
    assert sorted(r.path for r in receiver.requests) == ["/hook/all", "/hook/all", "/hook/connack"]
    assert [stats.name for stats in sink.stats()] == ["all", "connack"]


def test_what_nobody_wants_is_known() -> None:
    sink = Sink([endpoint("http://127.0.0.1:1/", Rule("on_message_publish", "a/+"))])
    assert sink.wants(events.MessagePublished)
    assert not sink.wants(events.ClientConnack)
    assert sink.wants_topic("a/b")
    assert not sink.wants_topic("b")


def test_a_sink_works_before_a_loop_runs() -> None:
    sink = Sink([endpoint("http://127.0.0.1:1/")], clock=ManualClock())
    sink.offer(published())
    assert sink.stats()[0].queued == 1


async def test_a_full_queue_loses_the_new_event_and_says_so(receiver, start, caplog) -> None:
    receiver.default = hang
    sink = await start(endpoint(receiver.url, pool_size=1, queue_max_events=10))
    for number in range(100):
        sink.offer(published(str(number).encode()))
    stats = sink.stats()[0]
    assert (stats.matched, stats.queued, stats.dropped_full) == (100, 10, 90)
    assert stats.adds_up
    said = [r.getMessage() for r in caplog.records if "queue is full" in r.getMessage()]
    assert said == ["webhook webhook: the queue is full (10 events): a new event is lost"]


async def test_a_full_queue_may_lose_the_oldest(receiver, start) -> None:
    blocked = asyncio.Event()

    async def wait(_):
        await blocked.wait()
        return await slowly(0)(_)

    receiver.default = wait
    sink = await start(endpoint(receiver.url, pool_size=1, queue_max_events=5, overflow="drop_oldest"))
    sink.offer(published(b"first"))
    await until(lambda: receiver.requests)
    for number in range(20):
        sink.offer(published(str(number).encode()))
    blocked.set()
    await drained(sink)
    assert [r.json["payload"] for r in receiver.requests] == ["first", "15", "16", "17", "18", "19"]
    assert sink.stats()[0].dropped_full == 15


async def test_the_queue_is_bounded_by_bytes(start, receiver) -> None:
    receiver.default = hang
    sink = await start(endpoint(receiver.url, pool_size=1, queue_max_bytes=100_000))
    for _ in range(100):
        sink.offer(published(b"x" * 10_000))
    stats = sink.stats()[0]
    assert stats.queued in (9, 10)
    assert stats.dropped_full == 100 - stats.queued
    assert stats.adds_up


async def test_offering_never_waits_for_the_endpoint(receiver, start) -> None:
    receiver.default = hang
    sink = await start(endpoint(receiver.url))
    for _ in range(1000):
        sink.offer(published())
    assert sink.stats()[0].matched == 1000
    assert not receiver.requests  # nothing has run but the offers


async def test_an_event_that_cannot_be_encoded_harms_no_other(receiver, start, caplog) -> None:
    sink = await start(endpoint(receiver.url))
    sink.offer(published(topic=7))  # type: ignore[arg-type]
    sink.offer(published(b"good"))
    await drained(sink)
    assert [r.json["payload"] for r in receiver.requests] == ["good"]
    assert "MessagePublished could not be queued" in caplog.text
    assert sink.stats()[0].adds_up


async def test_invalid_unicode_affects_no_other_event(receiver, start, caplog) -> None:
    sink = await start(endpoint(receiver.url), endpoint(receiver.url, name="second", encoding="base64"))
    sink.offer(published(topic="half a \ud800 pair"))
    sink.offer(published(b"good"))
    await drained(sink)
    assert len(receiver.requests) == 2
    assert [stats.callable_errors for stats in sink.stats()] == [1, 1]
    assert all(stats.adds_up for stats in sink.stats())
    assert "the format of webhook webhook, events[9] (on_message_publish) failed" in caplog.text


async def test_stop_empties_the_queue(receiver) -> None:
    receiver.default = slowly(0.01)
    sink = Sink([endpoint(receiver.url, pool_size=2)])
    await sink.start()
    for _ in range(20):
        sink.offer(published())
    assert await sink.stop(20) == []
    assert len(receiver.requests) == 20
    assert sink.stats()[0].state == "stopped"


async def test_stop_reports_what_was_left(receiver) -> None:
    receiver.default = hang
    sink = Sink([endpoint(receiver.url, pool_size=2)])
    await sink.start()
    for _ in range(20):
        sink.offer(published())
    left = await sink.stop(0.05)
    assert [str(one) for one in left] == ["webhook webhook: 20 events not delivered, lost"]
    assert sink.stats()[0].adds_up


async def test_stop_before_start() -> None:
    assert await Sink([endpoint("http://127.0.0.1:1/")]).stop(0) == []


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (
            {"encoding": "rot13"},
            'webhook webhook: body.encoding = "rot13" is not one of plain, base64, base62',
        ),
        ({"order": "random"}, 'webhook webhook: order = "random" is not one of none, client, topic'),
        ({"pool_size": 0}, "webhook webhook: pool_size = 0 is less than 1"),
        ({"secrets": ("tea time",)}, "a secret must be whsec_ followed by base64"),
    ],
)
def test_settings_that_cannot_work(more: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.split("=")[0]) as caught:
        Sink([endpoint("http://127.0.0.1:1/", **more)])
    assert complaint in str(caught.value)


def test_a_url_must_be_http() -> None:
    with pytest.raises(SettingsError, match=r'url "ftp://127.0.0.1/" does not begin with http://HOST'):
        Sink([endpoint("ftp://127.0.0.1/")])


async def test_log_lines_do_not_flood(receiver, start, caplog) -> None:
    caplog.set_level(logging.INFO)
    receiver.default = 500
    sink = await start(endpoint(receiver.url, breaker_failures=10_000))
    for _ in range(300):
        sink.offer(published(client=CLIENT))
    await drained(sink)
    assert sink.stats()[0].dead == 300
    assert 0 < len([r for r in caplog.records if r.name == "pybroker.webhook"]) < 20
