"""Batches of which some events arrive: each is delivered, waits or is dead, and the order is kept."""

from __future__ import annotations

import asyncio
import random

import pytest

from pybroker.broker import events
from tests.waiting import until

from .backends import Moody, Postponing
from .support import drained, published, pushers

HERE = "tests.pushers.backends"
EVENTS = "events = [{ event = on_message_publish }]"
QUICK = "retry { first = 1ms, max = 3ms, max_attempts = 1000 }"


@pytest.mark.parametrize("order", ["none", "client", "topic"])
@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("seed", range(5))
async def test_every_event_has_one_end(tmp_path, start, order, spooled, seed) -> None:
    Moody.taken, Moody.random = [], random.Random(seed)
    rng = random.Random(seed)
    spool = f'spool.path = "{tmp_path}/spool"' if spooled else ""
    text = f'a {{ backend = "{HERE}:Moody", order = {order}, batch.size = 7, {QUICK}, {EVENTS}\n{spool} }}'
    sink = await start(*pushers(tmp_path, text))
    for number in range(300):
        client = events.Client(rng.choice("abc"))
        sink.offer(published(number, topic=rng.choice(["t/1", "t/2"]), client=client))
        if number % 10 == 0:
            await asyncio.sleep(0)
            assert sink.stats()[0].adds_up
    stats = await drained(sink)
    assert stats.matched == stats.succeeded + stats.dead == 300
    assert (stats.queued_bytes, stats.in_flight, stats.spooled_bytes) == (0, 0, 0)
    first = {event.seq for event in Moody.taken}
    assert len(first) >= stats.succeeded
    if order != "none":
        for lane in {_lane(event, order) for event in Moody.taken}:
            last = {e.seq: at for at, e in enumerate(Moody.taken) if _lane(e, order) == lane}
            assert sorted(last, key=last.__getitem__) == sorted(last)


def _lane(event, order: str) -> str:
    return event.client if order == "client" else event.topic


async def test_a_backend_that_says_too_little_is_tried_again(tmp_path, start, caplog) -> None:
    (one,) = pushers(tmp_path, f'a {{ backend = "{HERE}:Wrong", {QUICK}, {EVENTS}, batch.size = 2 }}')
    sink = await start(one)
    sink.offer(published(1))
    sink.offer(published(2))
    await until(lambda: sink.stats()[0].retries > 2)
    assert "the backend returned 1 outcomes for 2 events" in caplog.text
    assert sink.stats()[0].succeeded == 0


async def test_one_outcome_may_disable_the_endpoint(tmp_path, start) -> None:
    (one,) = pushers(tmp_path, f'a {{ backend = "{HERE}:Leaving", {QUICK}, {EVENTS} }}')
    sink = await start(one)
    for number in range(10):
        sink.offer(published(number))
    await until(lambda: sink.stats()[0].state == "disabled")
    sink.offer(published(10))
    stats = await drained(sink)
    assert (stats.succeeded, stats.dead, stats.queued) == (9, 1, 1)


async def test_a_mistake_in_a_backend_is_told_with_its_place(tmp_path, start, caplog) -> None:
    (one,) = pushers(tmp_path, f'a {{ backend = "{HERE}:Mistaken", {QUICK}, {EVENTS} }}')
    sink = await start(one)
    sink.offer(published(1))
    await until(lambda: sink.stats()[0].retries)
    assert "a mistake in the code" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("spooled", [False, True])
async def test_what_is_not_due_waits_without_being_a_failure(tmp_path, start, spooled) -> None:
    Postponing.seen = {}
    more = "batch.size = 7, retry.max_attempts = 1, breaker.failures = 1" + (
        f', spool.path = "{tmp_path}/spool"' if spooled else ""
    )
    sink = await start(*pushers(tmp_path, f'a {{ backend = "{HERE}:Postponing", {EVENTS}, {more} }}'))
    for number in range(100):
        sink.offer(published(number))
        assert sink.stats()[0].adds_up
    await until(lambda: Postponing.seen)
    assert sink.stats()[0].adds_up
    stats = await drained(sink)
    assert (stats.succeeded, stats.dropped_filtered, stats.dead, stats.retries) == (90, 10, 0, 0)
    assert (stats.queued_bytes, stats.spooled_bytes, stats.state) == (0, 0, "ready")


async def test_what_a_backend_does_not_want_is_filtered(tmp_path, start) -> None:
    rules = 'events = [{ event = on_message_publish, clientid = "dev-*" }]'
    (one,) = pushers(tmp_path, f'a {{ backend = "{HERE}:Never", {rules}, batch.size = 2 }}')
    sink = await start(one)
    for number in range(5):
        sink.offer(published(number))
        sink.offer(published(number, client=events.Client("other")))  # no rule wants it
    assert sink.stats()[0].dropped_filtered == 1  # it is not even taken in
    stats = await drained(sink)
    assert (stats.matched, stats.dropped_filtered, stats.tries, stats.callable_errors) == (5, 5, 0, 1)


async def test_only_what_succeeds_is_timed(tmp_path, start) -> None:
    Moody.taken, Moody.random = [], random.Random(1)
    (one,) = pushers(tmp_path, f'a {{ backend = "{HERE}:Moody", batch.size = 7, {QUICK}, {EVENTS} }}')
    sink = await start(one)
    for number in range(200):
        sink.offer(published(number))
    stats = await drained(sink)
    assert stats.backend == f"{HERE}:Moody"
    assert stats.failed > stats.dead > 0
    assert 0 < stats.delivered_tries < stats.tries
    assert stats.delivered_seconds > 0
    assert stats.connections_opened >= 1
    assert stats.connections_failed > 0
    assert stats.delivered_bytes == sum(len(event.body) for event in Moody.taken)


async def test_an_answer_that_does_not_come_in_time_is_counted(tmp_path, start) -> None:
    text = f'a {{ backend = "{HERE}:Hanging", cancel_timeout = 20ms, {QUICK}, {EVENTS} }}'
    sink = await start(*pushers(tmp_path, text))
    sink.offer(published(1))
    await until(lambda: sink.stats()[0].timeouts >= 2)
    stats = sink.stats()[0]
    assert stats.failed == stats.timeouts
    assert (stats.delivered_tries, stats.delivered_seconds) == (0, 0.0)
