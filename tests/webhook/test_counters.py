"""matched = succeeded + dead + in_flight + queued + dropped, at any instant."""

from __future__ import annotations

import asyncio
import dataclasses
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybroker.broker import events
from pybroker.broker.clock import ManualClock
from pybroker.broker.outgoing.http import Answer, NoAnswerError
from pybroker.webhook import Batch, EndpointStats, Retry, Rule, Sink, Spool
from pybroker.webhook.metrics import BUCKETS

from .recorder import Recorder
from .samples import endpoint, published

HERE = "tests.webhook.callables"


@dataclasses.dataclass
class Turns:
    """Runs the event loop a few turns and looks at the counters after each."""

    sink: Sink

    async def run(self, count: int) -> None:
        for _ in range(count):
            self.look()
            await asyncio.sleep(0)
        self.look()

    def look(self) -> None:
        for stats in self.sink.stats():
            assert stats.adds_up, stats
            assert min(stats.queued, stats.in_flight, stats.queued_bytes) >= 0, stats
            assert (stats.queued_bytes > 0) == (stats.queued > 0) or stats.spooled_bytes, stats


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.integers(1, 12)),
        st.tuples(st.just("run"), st.integers(1, 6)),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 10.0, 100.0])),
        st.tuples(st.just("replace"), st.sampled_from([1, 2, 3])),
    ),
    max_size=30,
)


@given(
    steps=STEPS,
    seed=st.integers(0, 2**16),
    order=st.sampled_from(["none", "client", "topic"]),
    overflow=st.sampled_from(["drop_new", "drop_oldest"]),
    batch=st.sampled_from([Batch(), Batch(3, 0.5), Batch(4, 0.0)]),
    queue_max_events=st.sampled_from([3, 10, 1000]),
    spooled=st.booleans(),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counters_add_up(
    tmp_path_factory, steps, seed, order, overflow, batch, queue_max_events, spooled
) -> None:
    rng = random.Random(seed)
    replies = [
        200,
        200,
        200,
        500,
        429,
        400,
        NoAnswerError("cannot connect"),
        Answer(503, {"retry-after": "5"}),
    ]

    async def reply(_):
        for _ in range(rng.randint(0, 3)):
            await asyncio.sleep(0)
        return 410 if rng.random() < 0.01 else rng.choice(replies)

    async def scenario() -> None:
        clock = ManualClock()
        path = tmp_path_factory.mktemp("spool") if spooled else None
        one = endpoint(
            "memory:",
            Rule("on_message_publish", "t/+", filter=f"{HERE}:only_short"),
            Rule("on_message_publish", "broken/+", transform=f"{HERE}:broken"),
            order=order,
            overflow=overflow,
            batch=batch,
            queue_max_events=queue_max_events,
            pool_size=3,
            retry=Retry(3, 1.0, 20.0, ttl=60.0),
            breaker_failures=4,
            cancel_timeout=5.0,
            spool=Spool(path, fsync=rng.choice(["interval", "always"])) if path else None,
        )
        sink = Sink([one], clock=clock, transport=Recorder(reply))
        turns = Turns(sink)
        await sink.start()
        try:
            for step, value in steps:
                if step == "offer":
                    for _ in range(value):
                        topic = rng.choice(["t/1", "t/2", "broken/1", "unwanted"])
                        payload = rng.choice([b"ok", b"too long for the filter"])
                        client = events.Client(rng.choice("abc"))
                        sink.offer(published(payload, topic=topic, client=client, at=clock.time()))
                        turns.look()
                elif step == "run":
                    await turns.run(value)
                elif step == "wait":
                    clock.advance(value)
                else:
                    await sink.replace([dataclasses.replace(one, pool_size=value)])
                turns.look()
        finally:
            await sink.stop(0)
        turns.look()
        assert sink.stats()[0].in_flight == 0

    asyncio.run(scenario())


def test_stats_survive_json() -> None:
    stats = EndpointStats(
        "a", "http://h/", "ready", matched=3, response_buckets=tuple(range(len(BUCKETS) + 1))
    )
    assert EndpointStats.from_dict(stats.to_dict()) == stats
    assert EndpointStats.from_dict({**stats.to_dict(), "new_in_a_later_version": 1}) == stats


def test_quantiles_come_from_the_buckets() -> None:
    buckets = (0, 90, 0, 9, *[0] * (len(BUCKETS) - 4), 1)
    stats = EndpointStats("a", "", "ready", response_count=100, response_buckets=buckets)
    assert stats.response_quantile(0.5) == BUCKETS[1]
    assert stats.response_quantile(0.95) == BUCKETS[3]
    assert stats.response_quantile(1.0) == float("inf")
    assert EndpointStats("a", "", "ready").response_quantile(0.5) == 0.0


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:pw@h.example:8443/a/b", "https://h.example:8443/a/b"),
        ("http://h/a?token=s3=cr&et=&x=1==&flag", "http://h/a?token=***&***&x=***&***"),
        ("https://h/services/T00000000/abcdEFGH1234ijkl5678", "https://h/services/T00000000/***"),
        ("http://h/mqtt-events-of-production", "http://h/mqtt-events-of-production"),
        ("http://h", "http://h"),
    ],
)
def test_secrets_of_a_url_are_not_shown(url: str, shown: str) -> None:
    sink = Sink([endpoint(url)], transport=Recorder())
    assert sink.stats()[0].url == shown
