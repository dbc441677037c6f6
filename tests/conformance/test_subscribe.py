"""SUBSCRIBE, UNSUBSCRIBE and their answers; topics and filters (sections 3.8 to 3.11 and 4.7)."""

from __future__ import annotations

import pytest

from pybroker.broker.config.settings import Limits
from pybroker.broker.engine.publish import broadcast
from pybroker.broker.packets.model import (
    Puback,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
)
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import FOR_EVER, Broker, Client

from .versions import every_version, oasis

mqtt = pytest.mark.mqtt
R = ReasonCode


# SUBSCRIBE and SUBACK


@mqtt("3.1.1:MQTT-3.8.4-1", "3.1.1:MQTT-3.8.4-2", "3.1.1:MQTT-3.8.4-4", "3.1.1:MQTT-3.8.4-5")
@mqtt("3.1.1:MQTT-3.9.3-1", "3.1.1:MQTT-3.9.3-2", "5.0:MQTT-3.8.4-1", "5.0:MQTT-3.8.4-2", "5.0:MQTT-3.8.4-5")
@mqtt("5.0:MQTT-3.8.4-6", "5.0:MQTT-3.8.4-7", "5.0:MQTT-3.9.3-1", "5.0:MQTT-3.9.3-2")
@every_version
def test_one_suback_with_a_reason_for_each_filter(version: int) -> None:
    broker = Broker(limits=Limits(max_subscriptions=3))
    broker.engine.access.authorizers = (lambda client, topic, action: not topic.startswith("secret"),)
    client = broker.connect(version=version)
    wanted = [("a", 2), ("secret/#", 1), ("b", 0), ("a", 1), ("c", 1), ("d", 1)]
    client.send(Subscribe(4711, [SubscribeFilter(name, qos) for name, qos in wanted]))
    denied, full = R.NOT_AUTHORIZED, R.QUOTA_EXCEEDED
    if version != 5:
        denied = full = R.UNSPECIFIED_ERROR
    assert client.packets() == [Suback(4711, [2, denied, 0, 1, 1, full])]  # type: ignore[list-item]
    broker.connect("p").publish("a", qos=2)
    assert client.message().qos == 1  # the later one counts
    client.nothing()


@mqtt("3.1.1:MQTT-3.8.3-3", "5.0:MQTT-3.8.3-2")
@oasis
def test_subscribe_without_a_filter(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.send(Subscribe(1, []))
    client.closed(R.PROTOCOL_ERROR)


@mqtt("3.1.1:MQTT-3.10.3-2", "5.0:MQTT-3.10.3-2")
@oasis
def test_unsubscribe_without_a_filter(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.send(Unsubscribe(1, []))
    client.closed(R.PROTOCOL_ERROR)


@mqtt("3.1.1:MQTT-3-8.3-4", "5.0:MQTT-3.8.3-5")
@oasis
@pytest.mark.parametrize("options", [3, 0x40, 0x80, 0xFC, 0xC1])
def test_reserved_options(broker: Broker, version: int, options: int) -> None:
    client = broker.connect(version=version)
    client.send_bytes(
        b"\x82\x07\0\1\0\0\1t" + bytes((options,))
        if version == 5
        else b"\x82\x06\0\1\0\1t" + bytes((options,))
    )
    client.closed(R.MALFORMED_PACKET)


@mqtt("3.1.1:MQTT-3-8.3-4")
@pytest.mark.parametrize("options", [4, 8, 0x10, 0x20])
def test_options_of_5_0_are_reserved_in_3_1_1(broker: Broker, options: int) -> None:
    client = broker.connect(version=4)
    client.send_bytes(b"\x82\x06\0\1\0\1t" + bytes((options,)))
    client.closed()


@mqtt("5.0:MQTT-4.13.1-1")
def test_retain_handling_3(broker: Broker) -> None:
    client = broker.connect()
    client.send_bytes(b"\x82\x07\0\1\0\0\1t\x30")
    client.closed(R.PROTOCOL_ERROR)


INVALID_FILTERS = ["", "#/a", "a#", "a/#/b", "##", "a+", "+a", "a/b+/c", "a/#b", "++"]


@mqtt("3.1.1:MQTT-4.7.1-2", "3.1.1:MQTT-4.7.1-3", "3.1.1:MQTT-4.7.3-1", "3.1.1:MQTT-4.8.0-1")
@mqtt("5.0:MQTT-4.7.1-1", "5.0:MQTT-4.7.1-2", "5.0:MQTT-4.7.3-1")
@every_version
@pytest.mark.parametrize("topic_filter", INVALID_FILTERS)
def test_filters_that_are_none(broker: Broker, version: int, topic_filter: str) -> None:
    for packet in (
        Subscribe(1, [SubscribeFilter("right", 0), SubscribeFilter(topic_filter, 0)]),
        Unsubscribe(1, ["right", topic_filter]),
    ):
        client = broker.connect(version=version)
        client.send(packet)
        # 0x8F would say that the filter "is correctly formed, but is not accepted" (3.14.2.1)
        client.closed(R.MALFORMED_PACKET)


@mqtt("3.1.1:MQTT-3.8.4-3", "5.0:MQTT-3.8.4-3", "5.0:MQTT-3.8.4-4")
@every_version
def test_the_same_filter_again_replaces(broker: Broker, version: int) -> None:
    publisher = broker.connect("p")
    publisher.publish("t", b"kept", qos=2, retain=True)
    client = broker.connect("c", version)
    assert client.subscribe("t", qos=2) == R.GRANTED_QOS_2
    publisher.publish("t", b"between", qos=1)
    assert client.subscribe("t", qos=0) == R.GRANTED_QOS_0
    messages = [(m.payload, m.qos, m.retain) for m in client.messages()]
    assert messages == [(b"kept", 2, True), (b"between", 1, False), (b"kept", 0, True)]
    publisher.publish("t", b"after", qos=1)
    assert [(m.payload, m.qos) for m in client.messages()] == [(b"after", 0)]


@mqtt("5.0:MQTT-3.8.4-4", "3.1.1:MQTT-3.8.4-3")
@oasis
def test_replacing_loses_nothing(version: int) -> None:
    broker = Broker(max_inflight_window=1)
    publisher = broker.connect("p")
    client = broker.connect("c", version)
    client.subscribe("t", qos=1)
    for number in range(5):
        publisher.publish("t", b"%d" % number, qos=1)
        client.send(Subscribe(100 + number, [SubscribeFilter("t", 1)]))
    payloads = []
    while client.pending():
        for packet in client.packets():
            if isinstance(packet, Publish):
                payloads.append(packet.payload)
                client.send(Puback(packet.packet_id))
    assert payloads == [b"0", b"1", b"2", b"3", b"4"]


# Retain handling, retain as published, no local


@mqtt("5.0:MQTT-3.3.1-9", "5.0:MQTT-3.3.1-10", "5.0:MQTT-3.3.1-11")
@pytest.mark.parametrize(("handling", "new", "again"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_retain_handling(broker: Broker, handling: int, new: int, again: int) -> None:
    broker.connect("p").publish("t", retain=True)
    client = broker.connect()
    client.subscribe("t", retain_handling=handling)
    assert len(client.messages()) == new
    client.subscribe("t", retain_handling=handling)
    assert len(client.messages()) == again
    client.unsubscribe("t")
    client.subscribe("t", retain_handling=handling)
    assert len(client.messages()) == new


@mqtt("5.0:MQTT-3.3.1-10")
def test_retain_handling_1_counts_a_resumed_subscription_as_old(broker: Broker) -> None:
    broker.connect("p").publish("t", retain=True)
    client = broker.connect("c", session_expiry_interval=100)
    client.subscribe("t", retain_handling=1)
    assert len(client.messages()) == 1
    client.drop()
    back = client.again()
    back.subscribe("t", retain_handling=1)
    back.nothing()


@mqtt("5.0:MQTT-3.3.1-12", "5.0:MQTT-3.3.1-13")
@pytest.mark.parametrize("comes", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("as_published", [False, True])
def test_retain_as_published(broker: Broker, comes: int, qos: int, retain: bool, as_published: bool) -> None:
    client = broker.connect()
    client.subscribe("t", qos=2, retain_as_published=as_published)
    broker.connect("p", comes).publish("t", qos=qos, retain=retain)
    assert client.message().retain is (retain and as_published)


@mqtt("5.0:MQTT-3.3.1-13")
def test_retain_as_published_while_the_client_reads_too_slowly(broker: Broker) -> None:
    client = broker.connect()
    client.subscribe("t", retain_as_published=True)
    client.stop_reading()
    broker.connect("p").publish("t", retain=True)
    client.read_on()
    assert client.message().retain


@mqtt("5.0:MQTT-3.8.3-3")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_local(broker: Broker, qos: int) -> None:
    client, other = broker.connect("c"), broker.connect("o")
    client.subscribe("t", qos=2, no_local=True)
    other.subscribe("t", qos=2)
    client.publish("t", b"mine", qos=qos)
    other.publish("t", b"yours", qos=qos)
    assert client.payloads() == [b"yours"]
    assert other.payloads() == [b"mine", b"yours"]


@mqtt("5.0:MQTT-3.8.3-3")
def test_no_local_holds_over_a_new_connection(broker: Broker) -> None:
    client = broker.connect("c", session_expiry_interval=100)
    client.subscribe("t", no_local=True)
    back = client.again()
    back.publish("t")
    back.nothing()


@pytest.mark.parametrize("no_local", [False, True])
def test_no_local_does_not_keep_back_what_was_retained(broker: Broker, no_local: bool) -> None:
    client = broker.connect()
    client.publish("t", b"kept", retain=True)
    client.subscribe("t", no_local=no_local)
    assert client.payloads() == [b"kept"]


@mqtt("5.0:MQTT-3.8.3-3", "5.0:MQTT-3.3.4-4")
def test_no_local_beside_a_subscription_without_it(broker: Broker) -> None:
    client = broker.connect()
    client.subscribe("t", qos=2, no_local=True, identifier=1)
    client.subscribe("+", qos=1, identifier=2)
    client.publish("t", b"mine", qos=2)
    message = client.message()
    assert (message.qos, message.properties) == (1, Properties(subscription_identifiers=(2,)))
    broker.connect("o").publish("t", b"yours", qos=2)
    message = client.message()
    assert message.qos == 2
    assert message.properties is not None
    assert set(message.properties.subscription_identifiers) == {1, 2}


# Subscription identifiers and overlapping subscriptions


@mqtt("5.0:MQTT-3.3.4-3", "5.0:MQTT-3.3.4-4", "5.0:MQTT-3.3.4-2", "3.1.1:MQTT-3.3.5-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_overlapping_subscriptions(broker: Broker, qos: int) -> None:
    client = broker.connect()
    client.subscribe("a/+", qos=0, identifier=1)
    client.subscribe("a/#", qos=2, identifier=268_435_455)
    client.subscribe("a/b", qos=1)
    client.subscribe("+/b", qos=1, identifier=1)
    client.subscribe("c", qos=2, identifier=9)
    broker.connect("p").publish("a/b", qos=qos)
    message = client.message()  # one copy
    assert message.qos == qos
    assert message.properties is not None
    assert sorted(message.properties.subscription_identifiers) == [1, 1, 268_435_455]
    client.nothing()


@mqtt("3.1.1:MQTT-3.3.5-1")
@every_version
def test_overlapping_subscriptions_bring_one_copy_at_the_highest_qos(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.subscribe("a/+", qos=0)
    client.subscribe("a/#", qos=2)
    client.subscribe("#", qos=1)
    broker.connect("p").publish("a/b", qos=2)
    assert [m.qos for m in client.messages()] == [2]


def test_a_subscription_identifier_is_replaced_and_taken_away(broker: Broker) -> None:
    client = broker.connect()
    publisher = broker.connect("p")
    for identifier in (1, 2, None):
        client.subscribe("t", identifier=identifier)
        publisher.publish("t")
        expected = Properties(subscription_identifiers=(identifier,)) if identifier else None
        assert client.message().properties == expected


def test_a_subscription_identifier_comes_with_retained_messages(broker: Broker) -> None:
    broker.connect("p").publish("t", retain=True, content_type="x")
    client = broker.connect()
    client.subscribe("t", identifier=7)
    properties = client.message().properties
    assert properties == Properties(content_type="x", subscription_identifiers=(7,))


def test_a_subscription_identifier_lasts_as_long_as_the_session(broker: Broker) -> None:
    client = broker.connect("c", session_expiry_interval=FOR_EVER)
    client.subscribe("t", qos=1, identifier=7)
    client.drop()
    broker.connect("p").publish("t", qos=1)
    assert client.again().message().properties == Properties(subscription_identifiers=(7,))


@pytest.mark.parametrize("raw", [b"\x0b\x00", b"\x0b\x01\x0b\x02"], ids=["0", "two"])
def test_subscription_identifiers_that_are_protocol_errors(broker: Broker, raw: bytes) -> None:
    client = broker.connect()
    body = b"\0\1" + bytes((len(raw),)) + raw + b"\0\1t\0"
    client.send_bytes(bytes((0x82, len(body))) + body)
    client.closed(R.PROTOCOL_ERROR)


# UNSUBSCRIBE and UNSUBACK


@mqtt("3.1.1:MQTT-3.10.4-1", "3.1.1:MQTT-3.10.4-2", "3.1.1:MQTT-3.10.4-4", "3.1.1:MQTT-3.10.4-5")
@mqtt("3.1.1:MQTT-3.10.4-6", "5.0:MQTT-3.10.4-1", "5.0:MQTT-3.10.4-2", "5.0:MQTT-3.10.4-4")
@mqtt("5.0:MQTT-3.10.4-5", "5.0:MQTT-3.10.4-6", "5.0:MQTT-3.11.3-1", "5.0:MQTT-3.11.3-2")
@every_version
def test_unsubscribe(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    for topic_filter in ("a", "a/+", "a/#", "b"):
        client.subscribe(topic_filter)
    client.send(Unsubscribe(4711, ["a/b", "a/+", "nothing", "a", "A/#", "a"]))
    none = R.NO_SUBSCRIPTION_EXISTED
    reasons = [none, R.SUCCESS, none, R.SUCCESS, none, none] if version == 5 else []
    assert client.packets() == [Unsuback(4711, reasons)]
    publisher = broker.connect("p")
    for topic in ("a", "b", "a/b"):
        publisher.publish(topic)
    assert [m.topic for m in client.messages()] == ["a", "b", "a/b"]  # a/# is left
    assert client.unsubscribe("a/#").reasons == ([R.SUCCESS] if version == 5 else [])
    for topic in ("a", "b", "a/b"):
        publisher.publish(topic)
    assert [m.topic for m in client.messages()] == ["b"]


@mqtt("3.1.1:MQTT-3.10.4-3", "5.0:MQTT-3.10.4-3")
@every_version
def test_what_is_being_delivered_is_completed_after_unsubscribe(broker: Broker, version: int) -> None:
    kept = {"session_expiry_interval": 100} if version == 5 else {}
    client = broker.connect("c", version, clean_start=False, **kept)
    client.subscribe("t", qos=2)
    publisher = broker.connect("p")
    publisher.publish("t", b"1", qos=1)
    publisher.publish("t", b"2", qos=2)
    one, two = (client.message(acknowledge=False) for _ in range(2))
    client.unsubscribe("t")
    client.send(Pubrec(two.packet_id))
    assert client.next(Pubrel).packet_id == two.packet_id
    client.drop()
    back = client.again()
    again, release = back.packets()
    assert isinstance(again, Publish)
    assert (again.packet_id, again.payload) == (one.packet_id, b"1")
    assert release == Pubrel(two.packet_id)


# Matching


MATCHES = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "sport/tennis", True),
    ("#", "/", True),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+", "sport", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("+/tennis/#", "sport/tennis", True),
    ("#", "$SYS/monitor", False),
    ("+/monitor/Clients", "$SYS/monitor/Clients", False),
    ("$SYS/#", "$SYS/", True),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
    ("a//b", "a//b", True),
    ("a//b", "a/b", False),
    ("a/+/b", "a//b", True),
    ("/a", "a", False),
    ("a/", "a", False),
    ("a b", "a b", True),
    ("Accounts", "ACCOUNTS", False),
    ("é", "e\u0301", False),
    ("\u212b", "\u00c5", False),
]


@mqtt("3.1.1:MQTT-4.7.2-1", "5.0:MQTT-4.7.2-1", "3.1.1:MQTT-4.7.3-4", "5.0:MQTT-4.7.3-4")
@mqtt("3.1.1:MQTT-4.7.1-2", "3.1.1:MQTT-4.7.1-3", "5.0:MQTT-4.7.1-1", "5.0:MQTT-4.7.1-2")
@oasis
@pytest.mark.parametrize(("topic_filter", "topic", "matching"), MATCHES)
def test_matching(broker: Broker, version: int, topic_filter: str, topic: str, matching: bool) -> None:
    live, later = broker.connect("live", version), broker.connect("later", version)
    live.subscribe(topic_filter)
    broadcast(broker.engine, topic, b"x", retain=True)
    broker.engine.flush()
    assert len(live.messages()) == matching
    later.subscribe(topic_filter)  # the retained ones are found another way
    assert len(later.messages()) == matching


@mqtt("3.1.1:MQTT-4.7.3-3", "5.0:MQTT-4.7.3-3")
@oasis
def test_the_longest_topic(broker: Broker, version: int) -> None:
    topic = "x" * 65_535
    client = broker.connect(version=version)
    assert client.subscribe(topic) == R.GRANTED_QOS_0
    client.publish(topic)
    assert client.message().topic == topic


@mqtt("3.1.1:MQTT-4.5.0-1", "5.0:MQTT-4.5.0-1")
@oasis
def test_every_matching_session_gets_the_message(broker: Broker, version: int) -> None:
    kept = {"session_expiry_interval": 100} if version == 5 else {}
    clients: list[Client] = []
    for number in range(20):
        client = broker.connect(f"c{number}", version, clean_start=False, **kept)
        client.subscribe("t" if number % 2 else "+", qos=1)
        if number % 3 == 0:
            client.drop()
        clients.append(client)
    broker.connect("p").publish("t", qos=1)
    for client in clients:
        back = client.again() if client.is_closed else client
        assert len(back.messages()) == 1
