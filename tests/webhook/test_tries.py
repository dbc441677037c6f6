"""The last deliveries, for those who look."""

from __future__ import annotations

from pybroker.broker.clock import ManualClock
from pybroker.broker.outgoing.http import Answer
from pybroker.webhook import Batch, Retry
from pybroker.webhook.backend import DELIVERED, Outcome
from pybroker.webhook.delivery.endpoint import Endpoint
from pybroker.webhook.delivery.tries import BODY_BYTES, FAILURES, FORGOTTEN_AFTER, KEPT, Tries
from pybroker.webhook.parcels import Delivery
from pybroker.webhook.sink import Sink

from .conftest import drained
from .receiver import Receiver, answer
from .recorder import Recorder
from .samples import endpoint, published

ONCE = Retry(max_attempts=1)


def item(number: int, size: int = 1) -> Delivery:
    return Delivery(
        number, f"id{number}", 0.0, "message_publish", "a", "c", (("h", "v" * size),), b"x" * size
    )


def found(sink: Sink) -> Endpoint:
    one = sink.endpoint("webhook")
    assert one is not None
    return one


def test_what_is_kept_is_bounded() -> None:
    tries = Tries(ManualClock())
    for number in range(100):
        tries.note([item(number, 1 << 20)], 1, Outcome.retry("no"), 0.1)
        tries.note([item(number)], 1, DELIVERED, 0.1)
    failures = tries.look()
    assert [one.id for one in failures] == [f"id{number}" for number in range(100 - FAILURES, 100)]
    assert (len(failures[0].body), failures[0].body_size) == (BODY_BYTES, 1 << 20)
    assert len(failures[0].headers[0][1]) < 1000
    for number in range(200):
        tries.note([item(number)], 1, DELIVERED, 0.1)
    assert len(tries.look()) == FAILURES + KEPT


def test_successes_are_kept_while_somebody_looks() -> None:
    clock = ManualClock()
    tries = Tries(clock)
    assert not tries.watched
    tries.look()
    clock.advance(FORGOTTEN_AFTER - 1)
    tries.note([item(1), item(2)], 3, DELIVERED, 0.5)
    (one,) = tries.look()
    assert (one.events, one.id, one.tries, one.seconds) == (2, "id1", 3, 0.5)
    assert tries.look(after=one.number) == []
    clock.advance(FORGOTTEN_AFTER)
    assert not tries.watched
    assert tries.look() == []


async def test_request_and_answer(receiver: Receiver, start) -> None:
    secrets = {
        "secrets": ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
        "headers": (("Authorization", "Bearer s3"), ("X-Mine", "s3")),
    }
    sink = await start(endpoint(receiver.url, **secrets))
    one = found(sink)
    one.last_tries()
    receiver.answers = [answer(200, "fine"), answer(400, "not this")]
    for payload in (b"first", b"second"):
        sink.offer(published(payload=payload))
        await drained(sink)
    good, bad = one.last_tries()
    assert (good.outcome.status, good.outcome.body) == (200, b"fine")
    assert (bad.outcome.status, bad.outcome.body, bad.outcome.verdict.value) == (400, b"not this", "dead")
    assert good.body == receiver.requests[0].body
    headers = dict(one.shown_headers(good))
    sent = receiver.requests[0].headers
    for name in ("content-type", "webhook-id"):
        assert headers[name] == sent[name]
    assert {"authorization", "x-mine", "webhook-signature"} <= {
        n for n, v in headers.items() if v == "******"
    }
    assert "s3" not in str(headers)


async def test_a_failure_nobody_looked_at_and_after_a_reload(start) -> None:
    recorder = Recorder()
    recorder.replies = [Answer(404, {}, b"nobody here"), 200]
    settings = endpoint("http://x/", retry=ONCE)
    sink = await start(settings, transport=recorder)
    for _ in range(2):
        sink.offer(published())
        await drained(sink)
    await sink.replace([endpoint("http://y/", retry=ONCE)])
    (failure,) = found(sink).last_tries()
    assert (failure.outcome.status, failure.outcome.body) == (404, b"nobody here")


async def test_a_batch(start) -> None:
    recorder = Recorder()
    sink = await start(endpoint("http://x/", batch=Batch(size=2, time=60.0)), transport=recorder)
    found(sink).last_tries()
    sink.offer(published())
    sink.offer(published())
    await drained(sink)
    (one,) = found(sink).last_tries()
    assert one.events == 2
    assert found(sink).shown_headers(one)
