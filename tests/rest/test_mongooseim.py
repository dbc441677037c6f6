"""Numbers of event pushers by MongooseIM's names."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pybroker.broker.rest.mongooseim import as_mongooseim
from pybroker.webhook import EndpointStats

NUMBERS = {
    "succeeded": 7,
    "failed": 5,
    "timeouts": 2,
    "delivered_tries": 3,
    "delivered_seconds": 0.25,
    "delivered_bytes": 700,
    "connections_opened": 3,
    "connections_closed": 2,
    "connections_failed": 4,
}


def values(*backends: str) -> dict[str, dict[str, float]]:
    stats = [EndpointStats(f"n{n}", "", "ready", backend=one, **NUMBERS) for n, one in enumerate(backends)]
    text = "\n".join(line for family in as_mongooseim(stats) for line in family.lines()) + "\n"
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[sample.labels["pool_tag"]] = sample.value
    types = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    return found


def test_rabbit() -> None:
    prefix = "wpool_global_rabbit_"
    found = {
        name.removeprefix(prefix): value["n0"]
        for name, value in values("rabbit").items()
        if name.startswith(prefix)
    }
    assert {name.removesuffix("_total"): value for name, value in found.items()} == {
        "connections_active": 1,
        "connections_opened": 3,
        "connections_closed": 2,
        "connections_failed": 4,
        "messages_published_count": 7,
        "messages_published_failed": 3,
        "messages_published_timeout": 2,
        "messages_published_size": 700,
        "messages_published_time_sum": 250_000,
        "messages_published_time_count": 3,
    }


def test_each_backend_and_none_without() -> None:
    found = values("http", "push", "mine:Kafka", "yours:Kafka", "mqtt-topic")
    assert not any(name.startswith("wpool_") for name in found)
    for name in ("http", "push", "mqtt_topic"):
        assert set(found[f"mod_event_pusher_{name}_sent_response_time_sum"].values()) == {250_000}
    sent = [value for name, value in found.items() if name.startswith("mod_event_pusher_kafka_sent_count")]
    assert sent == [{"n2": 7, "n3": 7}]
    assert not values()
