"""Against a real server that misbehaves: what is tried again, when, and what becomes of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pybroker.broker import events
from pybroker.broker.outgoing.http import Answer
from pybroker.webhook import Batch, Retry, Rule, Sink
from tests.waiting import until

from .conftest import drained
from .receiver import Receiver, answer, close_after, hang, reset_before_answer, reset_in_answer, slowly
from .recorder import Recorder
from .samples import CLIENT, endpoint, published

SLOW = Retry(max_attempts=3, first=60, max=60, ttl=1e9)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_an_answer_that_may_pass_is_tried_again(receiver, start, status) -> None:
    receiver.answers = [status, status]
    sink = await start(endpoint(receiver.url))
    sink.offer(published())
    await drained(sink)
    assert len(receiver.requests) == 3
    assert len({request.id for request in receiver.requests}) == 1
    stats = sink.stats()[0]
    assert (stats.succeeded, stats.dead, stats.tries, stats.retries) == (1, 0, 3, 2)


@pytest.mark.parametrize("status", [300, 301, 302, 307, 400, 401, 403, 404, 409, 413, 422])
async def test_any_other_answer_is_final(receiver, start, status) -> None:
    receiver.answers = [answer(status, location="/elsewhere")]
    sink = await start(endpoint(receiver.url))
    sink.offer(published())
    await drained(sink)
    assert len(receiver.requests) == 1
    assert sink.stats()[0].dead == 1


@pytest.mark.parametrize("trouble", [reset_before_answer, reset_in_answer])
async def test_a_broken_connection_is_tried_again(receiver, start, trouble) -> None:
    receiver.answers = [trouble, trouble]
    sink = await start(endpoint(receiver.url))
    sink.offer(published())
    await drained(sink)
    assert sink.stats()[0].succeeded == 1
    assert len({request.id for request in receiver.requests}) == 1


async def test_a_hanging_answer_is_given_up_and_tried_again(receiver, start) -> None:
    receiver.answers = [hang]
    sink = await start(endpoint(receiver.url, cancel_timeout=0.05))
    sink.offer(published())
    await drained(sink)
    stats = sink.stats()[0]
    assert (stats.succeeded, stats.tries, stats.response_count) == (1, 2, 1)


async def test_an_answer_that_never_ends_is_given_up(receiver, start) -> None:
    async def half(request):
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of")
        await asyncio.Event().wait()

    receiver.answers = [half]
    sink = await start(endpoint(receiver.url, cancel_timeout=0.05))
    sink.offer(published())
    await drained(sink)
    assert (sink.stats()[0].succeeded, sink.stats()[0].tries) == (1, 2)


async def test_a_slow_answer_is_waited_for(receiver, start) -> None:
    receiver.default = slowly(0.05)
    sink = await start(endpoint(receiver.url))
    sink.offer(published())
    await drained(sink)
    stats = sink.stats()[0]
    assert (stats.succeeded, stats.tries) == (1, 1)
    assert stats.response_seconds > 0.04  # loops round to the millisecond
    assert stats.response_quantile(0.99) >= 0.04


async def test_an_endpoint_that_is_not_there_yet(start) -> None:
    server = Receiver()
    await server.start()
    await server.stop()  # the port is free now, and refuses
    sink = await start(endpoint(server.url, retry=Retry(max_attempts=10_000, first=0.001, max=0.01, ttl=1e9)))
    for number in range(20):
        sink.offer(published(str(number).encode()))
    await until(lambda: sink.stats()[0].retries > 10)
    assert sink.stats()[0].state == "failing"
    await server.start()
    await drained(sink)
    assert sorted(int(r.json["payload"]) for r in server.requests) == list(range(20))
    assert sink.stats()[0].state == "ready"
    await server.stop()


async def test_kept_alive_connections_that_close(receiver, start) -> None:
    receiver.default = close_after
    sink = await start(
        endpoint(receiver.url, pool_size=2, retry=Retry(max_attempts=50, first=0.001, max=0.01, ttl=1e9))
    )
    for number in range(50):
        sink.offer(published(str(number).encode()))
        await asyncio.sleep(0)
    await drained(sink)
    assert {r.json["payload"] for r in receiver.requests} == {str(number) for number in range(50)}
    assert sink.stats()[0].succeeded == 50


async def test_tries_end(receiver, start, caplog) -> None:
    receiver.default = 500
    sink = await start(endpoint(receiver.url, retry=Retry(max_attempts=3, first=0.001, max=0.01, ttl=1e9)))
    sink.offer(published())
    await drained(sink)
    assert len(receiver.requests) == 3
    assert sink.stats()[0].dead == 1
    assert "answered 500; given up after try 3" in caplog.text


async def test_old_events_are_not_tried_again(receiver, start) -> None:
    receiver.default = 500
    sink = await start(endpoint(receiver.url, retry=Retry(max_attempts=3, first=0.001, max=0.01, ttl=10)))
    sink.offer(published(at=1000.0))
    await drained(sink)
    assert len(receiver.requests) == 1  # the first try is everyone's due
    assert sink.stats()[0].dropped_expired == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_honoured(receiver, start, form) -> None:
    later = (
        format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True) if form == "date" else "60"
    )
    receiver.answers = [answer(429, retry_after=later)]
    sink = await start(endpoint(receiver.url))
    sink.offer(published())
    await until(lambda: receiver.requests)
    await until(lambda: sink.stats()[0].queued)
    [due] = [due for due, _, _ in sink._endpoints[0]._pool._later]
    assert 50 < due - sink._clock.monotonic() <= 60


async def test_retry_after_ends(receiver, start) -> None:
    receiver.answers = [answer(503, retry_after="1")]
    sink = await start(endpoint(receiver.url))
    started = asyncio.get_running_loop().time()
    sink.offer(published())
    await drained(sink)
    assert asyncio.get_running_loop().time() - started >= 0.9
    assert sink.stats()[0].succeeded == 1


@pytest.mark.parametrize("never", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_an_absurd_retry_after_does_not_end_everything(start, never) -> None:
    from pybroker.broker.clock import ManualClock

    clock = ManualClock()
    recorder = Recorder()
    recorder.replies = [Answer(503, {"retry-after": never})]
    retry = Retry(max_attempts=9, first=1, max=60, ttl=3600)
    sink = await start(endpoint("memory:", retry=retry, breaker_failures=1), clock=clock, transport=recorder)
    sink.offer(published(at=clock.time()))
    await until(lambda: sink.stats()[0].state == "failing")
    sink.offer(published(at=clock.time()))
    clock.advance(3600)
    await until(lambda: sink.stats()[0].succeeded == 2)
    assert sink.stats()[0].dropped_expired == 0


@pytest.mark.parametrize("asked", ["100", "101", "36000"])
async def test_retry_after_of_ttl_and_more_leaves_one_more_try(start, asked) -> None:
    from pybroker.broker.clock import ManualClock

    clock = ManualClock()
    recorder = Recorder()
    recorder.replies = [Answer(503, {"retry-after": asked})] * 3
    retry = Retry(max_attempts=9, first=1, max=60, ttl=100)
    sink = await start(endpoint("memory:", retry=retry), clock=clock, transport=recorder)
    sink.offer(published(at=clock.time()))
    await until(lambda: len(recorder.requests) == 1 and sink.stats()[0].queued == 1)
    [(due, _, _)] = sink._endpoints[0]._pool._later
    assert due == clock.monotonic() + 100
    clock.advance(100)
    await until(lambda: sink.stats()[0].dropped_expired == 1)
    assert len(recorder.requests) == 2


async def test_gone_disables_the_endpoint_until_a_reload(receiver, start) -> None:
    receiver.answers = [410]
    settings = endpoint(receiver.url, pool_size=1)
    sink = await start(settings)
    for number in range(3):
        sink.offer(published(str(number).encode()))
    await drained(sink)
    sink.offer(published(b"3"))
    await asyncio.sleep(0.02)
    stats = sink.stats()[0]
    assert (stats.state, stats.dead, stats.queued, len(receiver.requests)) == ("disabled", 1, 3, 1)

    await sink.replace([settings])
    await drained(sink)
    assert [r.json["payload"] for r in receiver.requests] == ["0", "1", "2", "3"]
    assert sink.stats()[0].state == "ready"


async def test_one_probe_at_a_time_while_the_endpoint_fails(receiver, start) -> None:
    flying, most = 0, 0

    async def fail(request):
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.005)
        flying -= 1
        return await answer(500)(request)

    receiver.default = fail
    retry = Retry(max_attempts=1000, first=0.001, max=0.002, ttl=1e9)
    sink = await start(endpoint(receiver.url, pool_size=8, breaker_failures=5, retry=retry))
    for _ in range(100):
        sink.offer(published())
    await until(lambda: len(receiver.requests) >= 30 and not flying)  # those of before the breaker are over
    most, seen = 0, len(receiver.requests)
    await until(lambda: len(receiver.requests) >= seen + 10)
    assert most == 1
    receiver.default = 200
    await drained(sink)
    assert sink.stats()[0].succeeded == 100


@pytest.mark.parametrize("order", ["client", "topic"])
async def test_a_failing_event_holds_back_its_own_key_only(receiver, start, order) -> None:
    broken = True

    async def fail_a(request):
        bad = b'"payload":"a' in receiver.requests[-1].body and broken
        return await answer(500 if bad else 200)(request)

    receiver.default = fail_a
    sink = await start(
        endpoint(receiver.url, order=order, breaker_failures=1000, retry=Retry(1000, 0.001, 0.002, 1e9))
    )
    for number in range(5):
        for key in "ab":
            client = events.Client(key if order == "client" else "same")
            sink.offer(published(f"{key}{number}".encode(), topic=f"t/{key}", client=client))
    await until(lambda: sink.stats()[0].succeeded == 5)
    assert {r.json["payload"] for r in receiver.requests} == {"a0", "b0", "b1", "b2", "b3", "b4"}
    broken = False
    await drained(sink)
    delivered = [r.json["payload"] for r in receiver.requests]
    assert [p for p in dict.fromkeys(delivered) if p[0] == "a"] == ["a0", "a1", "a2", "a3", "a4"]
    assert [p for p in dict.fromkeys(delivered) if p[0] == "b"] == ["b0", "b1", "b2", "b3", "b4"]


async def test_order_holds_over_retries(receiver, start) -> None:
    turn = 0

    async def every_third_fails(request):
        nonlocal turn
        turn += 1
        return await answer(503 if turn % 3 == 0 else 200)(request)

    accepted: list[bytes] = []

    async def remember(request):
        response = await every_third_fails(request)
        if response.status == 200:
            accepted.append(receiver.requests[-1].body)
        return response

    receiver.default = remember
    sink = await start(
        endpoint(receiver.url, order="client", breaker_failures=1000, retry=Retry(1000, 0.001, 0.002, 1e9))
    )
    bodies = []
    for number in range(60):
        for client in "xyz":
            sink.offer(published(str(number).encode(), client=events.Client(client)))
            bodies.append((client, number))
    await drained(sink)
    for client in "xyz":
        mark = f'"from_client_id":"{client}"'.encode()
        mine = [body for body in accepted if mark in body]
        assert [int(body.rsplit(b'"', 2)[1]) for body in mine] == list(range(60))


async def test_a_clock_that_is_turned_by_hand_fires_the_retries(receiver, start) -> None:
    from pybroker.broker.clock import ManualClock

    clock = ManualClock()
    receiver.answers = [500, 500]
    sink = await start(endpoint(receiver.url, retry=SLOW), clock=clock)
    sink.offer(published(at=clock.time()))
    for tries in (1, 2):
        await until(lambda tries=tries: sink.stats()[0].tries == tries and sink.stats()[0].queued)
        clock.advance(60)
    await drained(sink)
    assert sink.stats()[0].succeeded == 1


async def test_an_exception_of_the_transport_ends_nothing(start, caplog) -> None:
    from pybroker.broker.outgoing.http import Answer

    class Broken:
        calls = 0

        async def post(self, request):
            self.calls += 1
            if self.calls < 3:
                raise RuntimeError("a fault")
            return Answer(200)

        async def close(self):
            pass

    sink = await start(endpoint("memory:"), transport=lambda settings: Broken())
    sink.offer(published())
    await drained(sink)
    assert sink.stats()[0].succeeded == 1
    assert "the transport failed" in caplog.text


async def test_batches_are_retried_as_they_were(receiver, start) -> None:
    receiver.answers = [500, reset_before_answer]
    sink = await start(endpoint(receiver.url, Rule("on_message_publish"), batch=Batch(size=10, time=0.01)))
    for number in range(10):
        sink.offer(published(str(number).encode(), client=CLIENT))
    await drained(sink)
    assert len({(r.id, r.body) for r in receiver.requests}) == 1
    assert len(receiver.requests) == 3
    assert sink.stats()[0].succeeded == 10


async def test_every_worker_takes_a_full_batch_that_waits() -> None:
    recorder = Recorder(lambda _: asyncio.Event().wait())
    sink = Sink(
        [endpoint("memory:", batch=Batch(size=10, time=3600), pool_size=4, cancel_timeout=3600)],
        transport=recorder,
    )
    for _ in range(47):
        sink.offer(published())
    await sink.start()
    await until(lambda: len(recorder.requests) == 4)
    await sink.stop(0)
