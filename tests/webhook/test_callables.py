"""Python callables that a rule names decide and shape; a broken one harms nothing else."""

from __future__ import annotations

import pytest

from pybroker.webhook import Rule

from .conftest import drained
from .samples import SAMPLES, endpoint, published

HERE = "tests.webhook.callables"


async def test_a_filter_decides(receiver, start) -> None:
    sink = await start(endpoint(receiver.url, Rule("on_message_publish", filter=f"{HERE}:only_short")))
    sink.offer(published(b"long enough"))
    sink.offer(published(b"ok"))
    await drained(sink)
    assert [r.json["payload"] for r in receiver.requests] == ["ok"]
    stats = sink.stats()[0]
    assert (stats.matched, stats.dropped_filtered, stats.callable_errors) == (2, 1, 0)
    assert stats.adds_up


async def test_a_later_rule_may_still_want_it(receiver, start) -> None:
    rules = (Rule("on_message_publish", filter=f"{HERE}:only_short"), Rule("on_message_publish", "nmq/#"))
    sink = await start(endpoint(receiver.url, *rules))
    sink.offer(published(b"long enough"))
    await drained(sink)
    assert len(receiver.requests) == 1
    assert sink.stats()[0].dropped_filtered == 0


async def test_a_transform_shapes_headers_and_body(receiver, start) -> None:
    sink = await start(endpoint(receiver.url, Rule("on_message_publish", transform=f"{HERE}:shaped")))
    sink.offer(published(b"hello"))
    await drained(sink)
    [request] = receiver.requests
    assert (request.body, request.headers["x-topic"]) == (b"HELLO", "nmq/pub")
    assert request.headers["content-type"].startswith("text/plain")
    assert request.id


@pytest.mark.parametrize("part", ["filter", "transform"])
async def test_a_broken_callable_affects_no_other(receiver, start, caplog, part) -> None:
    rules = (Rule("on_message_publish", **{part: f"{HERE}:broken"}), Rule("on_client_connack"))
    sink = await start(endpoint(receiver.url, *rules), endpoint(receiver.url, name="other"))
    for _ in range(50):
        sink.offer(published())
    sink.offer(SAMPLES["on_client_connack"])
    await drained(sink)
    assert len(receiver.requests) == 52
    stats = sink.stats()[0]
    assert (stats.callable_errors, stats.dropped_filtered, stats.succeeded) == (50, 50, 1)
    assert stats.adds_up
    said = [r for r in caplog.records if r.name == "pybroker.webhook"]
    assert len(said) == 1
    assert f"the {part} of webhook webhook, events[0] (on_message_publish) failed" in said[0].getMessage()
    assert "this callable is broken" in caplog.text


async def test_a_transform_must_give_bytes(receiver, start, caplog) -> None:
    sink = await start(endpoint(receiver.url, Rule("on_message_publish", transform=f"{HERE}:wrong_shape")))
    sink.offer(published())
    await drained(sink)
    assert sink.stats()[0].callable_errors == 1
    assert "a transform must return (headers, body) with bytes as body, not str" in caplog.text


@pytest.mark.parametrize("topic", ["a\r\nx-injected: b", "a\0b"])
async def test_a_transform_cannot_send_what_is_no_header(receiver, start, caplog, topic) -> None:
    """Such a topic is a client's choice: it must not look like a failure of the endpoint."""
    rule = Rule("on_message_publish", transform=f"{HERE}:topic_in_header")
    sink = await start(endpoint(receiver.url, rule, breaker_failures=1))
    sink.offer(published(topic=topic))
    sink.offer(published(topic="Ünïcode is fine"))
    await drained(sink)
    stats = sink.stats()[0]
    assert (stats.callable_errors, stats.dropped_filtered, stats.tries) == (1, 1, 1)
    assert "the header x-topic must not have a line break or another control character" in caplog.text


async def test_patterns_narrow_before_anything_is_counted(receiver, start) -> None:
    sink = await start(endpoint(receiver.url, Rule("on_message_publish", clientid="c3*", username="nobody")))
    sink.offer(published())
    assert sink.stats()[0].matched == 0
