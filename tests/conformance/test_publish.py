"""PUBLISH: retained messages, properties, topic aliases, expiry (section 3.3)."""

from __future__ import annotations

from typing import Any

import pytest

from pybroker.broker.config.settings import Limits
from pybroker.broker.engine.publish import broadcast
from pybroker.broker.packets.model import Puback, Pubcomp, Publish, Pubrec, Pubrel
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.session.queue import OVERHEAD
from tests.harness import FOR_EVER, Broker, Client

from .versions import every_version, oasis

mqtt = pytest.mark.mqtt
R = ReasonCode


@pytest.fixture
def publisher(broker: Broker) -> Client:
    return broker.connect("publisher")


def kept(version: int) -> dict[str, Any]:
    options: dict[str, Any] = {"clean_start": False}
    if version == 5:
        options["session_expiry_interval"] = FOR_EVER
    return options


# Retained messages


@mqtt("3.1.1:MQTT-3.3.1-5", "3.1.1:MQTT-3.3.1-6", "3.1.1:MQTT-3.3.1-8", "3.1.1:MQTT-3.3.1-9")
@mqtt("5.0:MQTT-3.3.1-5", "5.0:MQTT-3.3.1-9")
@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retain(broker: Broker, version: int, qos: int) -> None:
    before = broker.connect("before", version)
    before.subscribe("a/+", qos=2)
    publisher = broker.connect("p", version)
    publisher.publish("a/b", b"old", qos=2, retain=True)
    publisher.publish("a/b", b"new", qos=qos, retain=True)
    publisher.publish("a/c", b"other", retain=True)
    publisher.publish("x", b"elsewhere", retain=True)
    publisher.disconnect()

    assert [m.retain for m in before.messages()] == [False, False, False]
    after = broker.connect("after", version)
    after.subscribe("a/+", qos=2)
    messages = sorted(after.messages(), key=lambda m: m.topic)
    assert [(m.topic, m.payload, m.qos, m.retain) for m in messages] == [
        ("a/b", b"new", qos, True),
        ("a/c", b"other", 0, True),
    ]
    before.nothing()


@mqtt("3.1.1:MQTT-3.3.1-7")
@every_version
def test_a_retained_message_of_qos_0_takes_the_place_of_any_other(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.publish("t", b"two", qos=2, retain=True)
    client.publish("t", b"zero", qos=0, retain=True)
    client.subscribe("t", qos=2)
    [message] = client.messages()
    assert (message.payload, message.qos) == (b"zero", 0)


@mqtt("3.1.1:MQTT-3.3.1-10", "3.1.1:MQTT-3.3.1-11", "5.0:MQTT-3.3.1-6", "5.0:MQTT-3.3.1-7")
@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_empty_retained_message_clears_the_topic(broker: Broker, version: int, qos: int) -> None:
    client = broker.connect(version=version)
    client.subscribe("t")
    client.publish("t", b"there", retain=True)
    client.publish("t", b"", qos=qos, retain=True)
    assert client.payloads() == [b"there", b""]
    assert broker.retained() == {}
    client.subscribe("t")
    client.nothing()
    client.publish("t", b"", qos=qos, retain=True)  # nothing to clear: delivered all the same
    assert client.payloads() == [b""]


@mqtt("3.1.1:MQTT-3.3.1-12", "5.0:MQTT-3.3.1-8")
@every_version
def test_a_message_without_retain_leaves_the_retained_one(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.publish("t", b"kept", retain=True)
    client.publish("t", b"passing")
    client.publish("t", b"")
    client.publish("u", b"passing")
    assert broker.retained() == {"t": b"kept"}


@mqtt("5.0:MQTT-3.3.2-5", "5.0:MQTT-3.3.2-6")
def test_a_retained_message_expires(broker: Broker, publisher: Client) -> None:
    publisher.publish("t", retain=True, message_expiry_interval=10)
    broker.clock.advance(6)
    client = broker.connect()
    client.subscribe("t")
    message = client.message()
    assert message.properties == Properties(message_expiry_interval=4)
    broker.clock.advance(4)
    client.subscribe("t")
    client.nothing()


@pytest.mark.one_node
@mqtt("5.0:MQTT-3.3.2-5")
def test_a_retained_message_expires_while_access_control_thinks(broker: Broker, publisher: Client) -> None:
    async def allowed() -> bool:
        return True

    broker.engine.router.screen(lambda session, topic: allowed())
    publisher.publish("t", retain=True, message_expiry_interval=10)
    client = broker.connect()
    client.subscribe("t")
    broker.clock.advance(10)
    broker.answer()
    client.nothing()


def test_expired_retained_messages_are_removed_without_being_asked_for(
    broker: Broker, publisher: Client
) -> None:
    publisher.publish("t", retain=True, message_expiry_interval=10)
    publisher.publish("u", retain=True)
    broker.clock.advance(71)
    assert broker.retained() == {"u": b"x"}


# What is handed on


@mqtt("3.1.1:MQTT-3.3.1-3", "5.0:MQTT-3.3.1-3", "3.1.1:MQTT-4.3.1-1", "5.0:MQTT-4.3.1-1")
@mqtt("5.0:MQTT-4.3.2-2", "5.0:MQTT-4.3.3-2")
@pytest.mark.parametrize("comes", [4, 5])
@pytest.mark.parametrize("goes", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_dup_is_not_handed_on(broker: Broker, comes: int, goes: int, qos: int) -> None:
    client = broker.connect("s", goes)
    client.subscribe("t", qos=2)
    publisher = broker.connect("p", comes)
    publisher.publish("t", qos=qos, dup=qos > 0)
    message = client.message()
    assert (message.qos, message.dup) == (qos, False)


@pytest.mark.parametrize("comes", [3, 4, 5])
@pytest.mark.parametrize("goes", [3, 4, 5])
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
@mqtt("3.1.1:MQTT-3.8.4-6", "5.0:MQTT-3.8.4-8")
def test_every_way_through(broker: Broker, comes: int, goes: int, published: int, granted: int) -> None:
    client = broker.connect("s", goes)
    client.subscribe("a/#", qos=granted)
    publisher = broker.connect("p", comes)
    for payload in (b"", b"x", b"long" * 5000):
        publisher.publish("a/é", payload, qos=published)
        message = client.message()
        assert (message.topic, message.payload) == ("a/é", payload)
        assert message.qos == min(published, granted)
        assert not message.retain
    client.nothing()


@mqtt("5.0:MQTT-3.3.2-4", "5.0:MQTT-3.3.2-15", "5.0:MQTT-3.3.2-16", "5.0:MQTT-3.3.2-17", "5.0:MQTT-3.3.2-18")
@mqtt("5.0:MQTT-3.3.2-20")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retained", [False, True])
def test_properties_are_handed_on(broker: Broker, publisher: Client, qos: int, retained: bool) -> None:
    given = {
        "payload_format_indicator": 1,
        "content_type": "text/plain",
        "response_topic": "answers/1",
        "correlation_data": b"\0\xff",
        "user_properties": (("b", "2"), ("a", "1"), ("b", "1"), ("", "")),
    }
    subscribers = [broker.connect("s5"), broker.connect("s4", 4)]
    if not retained:
        for subscriber in subscribers:
            subscriber.subscribe("t", qos=2)
    publisher.publish("t", b"x", qos=qos, retain=retained, topic_alias=1, **given)
    if retained:
        for subscriber in subscribers:
            subscriber.subscribe("t", qos=2)
    five, four = (subscriber.message() for subscriber in subscribers)
    assert five.properties == Properties(**given)  # type: ignore[arg-type]
    assert four.properties is None


def test_a_message_of_the_brokers_own_keeps_its_properties(broker: Broker) -> None:
    client = broker.connect()
    client.subscribe("t", qos=1)
    broadcast(broker.engine, "t", b"x", qos=1, properties=Properties(content_type="text"))
    broker.engine.flush()
    assert client.message().properties == Properties(content_type="text")


@mqtt("3.1.1:MQTT-3.3.2-3", "5.0:MQTT-3.3.2-3")
@oasis
@pytest.mark.parametrize("topic_filter", ["a/b", "a/+", "#", "+/b", "a/b/#"])
def test_the_topic_is_the_published_one(broker: Broker, version: int, topic_filter: str) -> None:
    client = broker.connect(version=version)
    client.subscribe(topic_filter)
    client.publish("a/b")
    client.publish("a")
    client.publish("c/d")
    topics = [m.topic for m in client.messages()]
    assert topics == {"#": ["a/b", "a", "c/d"]}.get(topic_filter, ["a/b"])


# Topic aliases


@mqtt("5.0:MQTT-3.3.2-12", "5.0:MQTT-3.3.2-11", "5.0:MQTT-3.1.2-26", "5.0:MQTT-3.1.2-27")
def test_topic_aliases() -> None:
    broker = Broker(max_topic_alias=3)
    client = broker.connect(topic_alias_maximum=0)
    client.subscribe("#", qos=2)
    publisher = broker.connect("p")
    for alias in (1, 2, 3):
        publisher.publish(f"t{alias}", topic_alias=alias)
    publisher.publish("", qos=2, topic_alias=2)
    publisher.publish("", qos=1, topic_alias=3)
    publisher.publish("again", topic_alias=2)  # set anew
    publisher.publish("", topic_alias=2)
    publisher.publish("", topic_alias=1)
    messages = client.messages()
    assert [m.topic for m in messages] == ["t1", "t2", "t3", "t2", "t3", "again", "again", "t1"]
    assert all(m.properties is None for m in messages)


@mqtt("5.0:MQTT-3.3.2-8", "5.0:MQTT-3.3.2-9", "5.0:MQTT-3.2.2-17")
@pytest.mark.parametrize("alias", [0, 4, 65_535])
@pytest.mark.parametrize("topic", ["t", ""])
def test_topic_aliases_out_of_bounds(alias: int, topic: str) -> None:
    publisher = Broker(max_topic_alias=3).connect("p")
    publisher.send_publish(topic, topic_alias=alias)
    publisher.closed(R.TOPIC_ALIAS_INVALID)


@mqtt("5.0:MQTT-3.2.2-18")
def test_topic_aliases_that_are_not_allowed() -> None:
    publisher = Broker(max_topic_alias=0).connect("p")
    assert publisher.connack is not None
    assert publisher.connack.properties is not None
    assert not publisher.connack.properties.topic_alias_maximum
    publisher.send_publish("t", topic_alias=1)
    publisher.closed(R.TOPIC_ALIAS_INVALID)


def test_a_topic_alias_that_was_never_set(publisher: Client) -> None:
    publisher.send_publish("", topic_alias=1)
    publisher.closed(R.PROTOCOL_ERROR)


@mqtt("5.0:MQTT-3.3.2-7")
def test_topic_aliases_end_with_the_connection(publisher: Client) -> None:
    publisher.publish("t", topic_alias=1)
    back = publisher.again(session_expiry_interval=100)
    back.send_publish("", topic_alias=1)
    back.closed(R.PROTOCOL_ERROR)


def test_a_topic_alias_is_the_connections_own(broker: Broker, publisher: Client) -> None:
    publisher.publish("t", topic_alias=1)
    other = broker.connect("other")
    other.send_publish("", topic_alias=1)
    other.closed(R.PROTOCOL_ERROR)
    publisher.publish("", topic_alias=1)


# What ends the connection


@mqtt("3.1.1:MQTT-3.3.2-2", "5.0:MQTT-3.3.2-2", "3.1.1:MQTT-4.7.1-1", "5.0:MQTT-4.7.0-1", "5.0:MQTT-4.13.1-1")
@every_version
@pytest.mark.parametrize("topic", ["#", "+", "a/#", "a/+/b", "a+", "#a"])
def test_wildcards_in_a_topic_name(broker: Broker, version: int, topic: str) -> None:
    client = broker.connect(version=version)
    client.send_publish(topic, qos=1)
    client.closed(R.MALFORMED_PACKET)


@mqtt("3.1.1:MQTT-4.7.3-1", "5.0:MQTT-4.7.3-1")
@every_version
def test_an_empty_topic_name(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.send_publish("", qos=1)
    client.closed(R.PROTOCOL_ERROR)


@mqtt("5.0:MQTT-3.3.4-6")
def test_a_subscription_identifier_from_a_client(publisher: Client) -> None:
    publisher.send_publish("t", subscription_identifiers=(1,))
    publisher.closed(R.PROTOCOL_ERROR)


@mqtt("5.0:MQTT-3.3.2-14")
@pytest.mark.parametrize("topic", ["#", "a/+", ""])
def test_a_response_topic_that_is_none(publisher: Client, topic: str) -> None:
    publisher.send_publish("t", response_topic=topic)
    publisher.closed(R.PROTOCOL_ERROR)


# Answers


@mqtt("3.1.1:MQTT-3.3.4-1", "5.0:MQTT-3.3.4-1", "5.0:MQTT-4.3.2-4", "5.0:MQTT-4.3.3-8", "5.0:MQTT-4.3.3-11")
@mqtt("5.0:MQTT-3.4.2-1", "5.0:MQTT-3.5.2-1", "5.0:MQTT-3.7.2-1")
@every_version
@pytest.mark.parametrize("subscribed", [False, True])
def test_the_answer_that_the_qos_asks_for(broker: Broker, version: int, subscribed: bool) -> None:
    if subscribed:
        broker.connect("s").subscribe("t", qos=2)
    client = broker.connect(version=version)
    reason = R.NO_MATCHING_SUBSCRIBERS if version == 5 and not subscribed else R.SUCCESS
    client.send_publish("t", qos=0)
    client.nothing()
    client.send_publish("t", qos=1, packet_id=7)
    assert client.packets() == [Puback(7, reason)]
    client.send_publish("t", qos=2, packet_id=8)
    assert client.packets() == [Pubrec(8, reason)]
    client.send(Pubrel(8))
    assert client.packets() == [Pubcomp(8)]


@pytest.mark.one_node
@mqtt("3.1.1:MQTT-3.3.5-2")
@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_publish_that_is_not_authorized(broker: Broker, version: int, qos: int) -> None:
    broker.engine.access.authorizers = (lambda client, topic, action: topic != "secret",)
    watcher = broker.connect("w", version)
    watcher.subscribe("#", qos=2)
    client = broker.connect("c", version)
    reason = client.publish("secret", qos=qos)
    assert reason == (R.NOT_AUTHORIZED if version == 5 and qos else R.SUCCESS)
    assert client.publish("open", qos=qos) == R.SUCCESS
    assert [m.topic for m in watcher.messages()] == ["open"]
    assert broker.dropped("not_authorized") == 1


@pytest.mark.one_node
@mqtt("5.0:MQTT-4.3.3-9")
def test_after_a_refusal_the_identifier_is_free(broker: Broker) -> None:
    broker.engine.access.authorizers = (lambda client, topic, action: topic != "secret",)
    watcher = broker.connect("w")
    watcher.subscribe("#", qos=2)
    client = broker.connect("c")
    client.send_publish("secret", qos=2, packet_id=5)
    assert client.packets() == [Pubrec(5, R.NOT_AUTHORIZED)]
    assert client.publish("open", qos=2, packet_id=5) == R.SUCCESS
    assert [m.topic for m in watcher.messages()] == ["open"]


@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_sys_is_the_brokers_own(broker: Broker, version: int, qos: int) -> None:
    watcher = broker.connect("w")
    watcher.subscribe("$SYS/#", qos=2)
    client = broker.connect(version=version)
    client.publish("$SYS/brokers", b"lie", qos=qos, retain=True)
    watcher.nothing()
    assert broker.retained() == {}
    client.publish("$other", b"fine", qos=qos)


# Message expiry


@mqtt("5.0:MQTT-3.3.2-5", "5.0:MQTT-3.3.2-6")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_expires_while_it_waits(broker: Broker, publisher: Client, qos: int) -> None:
    client = broker.connect("c", **kept(5))
    client.subscribe("t", qos=2)
    client.drop()
    publisher.publish("t", b"short", qos=qos, message_expiry_interval=5)
    publisher.publish("t", b"long", qos=qos, message_expiry_interval=60)
    publisher.publish("t", b"for ever", qos=qos)
    broker.clock.advance(5)
    back = client.again()
    long, for_ever = back.messages()
    assert (long.payload, long.properties) == (b"long", Properties(message_expiry_interval=55))
    assert (for_ever.payload, for_ever.properties) == (b"for ever", None)
    assert broker.dropped("expired") == 1


@mqtt("5.0:MQTT-3.3.2-5")
@every_version
@pytest.mark.parametrize(
    "full", [{"max_mqueue_len": 2}, {"limits": Limits(max_queued_bytes=2 * (OVERHEAD + 20))}]
)
def test_what_expired_takes_no_room_in_a_full_queue(version: int, full: dict[str, Any]) -> None:
    broker = Broker(**full)
    publisher = broker.connect("p")
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=1)
    client.drop()
    for payload in (b"1", b"2", b"3"):
        publisher.publish("t", payload, qos=1, message_expiry_interval=5)
    assert (broker.dropped("queue_full"), broker.dropped("expired")) == (1, 0)
    broker.clock.advance(5)
    for payload in (b"4", b"5", b"6"):
        publisher.publish("t", payload, qos=1, message_expiry_interval=60)
    assert (broker.dropped("queue_full"), broker.dropped("expired")) == (2, 2)
    assert client.again().payloads() == [b"4", b"5"]


@mqtt("5.0:MQTT-3.3.2-5")
@every_version
def test_a_message_expires_behind_a_full_window(publisher: Client, version: int) -> None:
    broker = Broker(max_inflight_window=1)
    publisher = broker.connect("p")
    client = broker.connect("c", version)
    client.subscribe("t", qos=1)
    publisher.publish("t", b"first", qos=1)
    publisher.publish("t", b"second", qos=1, message_expiry_interval=5)
    publisher.publish("t", b"third", qos=1)
    first = client.message(acknowledge=False)
    client.nothing()
    broker.clock.advance(5)
    client.acknowledge(first)
    assert client.payloads() == [b"third"]


def test_an_expiry_of_0_is_for_those_who_are_there(broker: Broker, publisher: Client) -> None:
    here, away = broker.connect("here"), broker.connect("away", **kept(5))
    here.subscribe("t", qos=1)
    away.subscribe("t", qos=1)
    away.drop()
    publisher.publish("t", qos=1, message_expiry_interval=0)
    assert len(here.messages()) == 1
    away.again().nothing()


@mqtt("5.0:MQTT-4.3.3-7")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_was_sent_does_not_expire(broker: Broker, publisher: Client, qos: int) -> None:
    client = broker.connect("c", **kept(5))
    client.subscribe("t", qos=2)
    publisher.publish("t", b"sent", qos=qos, message_expiry_interval=5)
    first = client.message(acknowledge=False)
    client.drop()
    broker.clock.advance(60)
    back = client.again()
    second = back.message()
    assert (second.packet_id, second.dup) == (first.packet_id, True)
    assert second.properties == Properties(message_expiry_interval=0)
    back.nothing()


@mqtt("5.0:MQTT-4.3.3-13")
def test_acknowledgements_go_on_for_an_expired_message(broker: Broker, publisher: Client) -> None:
    publisher.send_publish("t", qos=2, packet_id=3, retain=True, message_expiry_interval=5)
    publisher.next(Pubrec)
    broker.clock.advance(60)
    publisher.send_publish("t", qos=2, packet_id=3, dup=True, retain=True, message_expiry_interval=5)
    assert publisher.packets() == [Pubrec(3)]
    publisher.send(Pubrel(3))
    assert publisher.packets() == [Pubcomp(3)]

    client = broker.connect("c", **kept(5))
    client.subscribe("u", qos=2)
    publisher.publish("u", qos=2, message_expiry_interval=5)
    message = client.message(acknowledge=False)
    broker.clock.advance(60)
    client.acknowledge(message)
    client.nothing()


def test_expiry_counts_from_the_brokers_receipt(broker: Broker, publisher: Client) -> None:
    client = broker.connect("c", **kept(5))
    client.subscribe("t", qos=1)
    client.drop()
    publisher.publish("t", qos=1, message_expiry_interval=10)
    broker.clock.advance(2.5)
    message = client.again().message()
    assert isinstance(message, Publish)
    assert message.properties is not None
    assert message.properties.message_expiry_interval in (7, 8)
