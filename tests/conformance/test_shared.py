"""Shared subscriptions: section 4.8.2."""

from __future__ import annotations

import pytest

from pybroker.broker.packets.model import Puback, Publish, Pubrec, Pubrel, Subscribe, SubscribeFilter
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import FOR_EVER, Broker, Client

from .versions import every_version

mqtt = pytest.mark.mqtt
R = ReasonCode


@pytest.fixture
def publisher(broker: Broker) -> Client:
    return broker.connect("publisher")


def member(
    broker: Broker, name: str, topic_filter: str = "$share/g/t", qos: int = 2, **options: int
) -> Client:
    client = broker.connect(name, session_expiry_interval=FOR_EVER, **options)
    assert client.subscribe(topic_filter, qos=qos) == qos
    return client


@mqtt("5.0:MQTT-4.8.2-1", "5.0:MQTT-4.8.2-2")
@pytest.mark.parametrize(
    "topic_filter",
    ["$share/", "$share//t", "$share/g", "$share/g/", "$share/a+/t", "$share/#/t", "$share/g/#/a"],
)
def test_shared_filters_that_are_none(broker: Broker, topic_filter: str) -> None:
    client = broker.connect()
    client.send(Subscribe(1, [SubscribeFilter(topic_filter, 0)]))
    client.closed(R.MALFORMED_PACKET)


@pytest.mark.parametrize("version", [3, 4])
def test_shared_filters_that_are_none_do_not_end_a_3_x_connection(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    assert client.subscribe("$share/g") == R.UNSPECIFIED_ERROR
    client.nothing()


@mqtt("5.0:MQTT-3.8.3-4")
def test_no_local_on_a_shared_subscription(broker: Broker) -> None:
    client = broker.connect()
    client.send(Subscribe(1, [SubscribeFilter("$share/g/t", 0, no_local=True)]))
    client.closed(R.PROTOCOL_ERROR)


@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_message_goes_to_one_member_in_turn(broker: Broker, version: int, qos: int) -> None:
    members = [broker.connect(f"m{n}", version) for n in range(3)]
    for client in members:
        client.subscribe("$share/g/t/+", qos=2)
    alone = broker.connect("alone", version)
    alone.subscribe("t/#", qos=2)
    publisher = broker.connect("p")
    for number in range(30):
        publisher.publish("t/x", b"%d" % number, qos=qos)
    got = [client.payloads() for client in members]
    assert [len(payloads) for payloads in got] == [10, 10, 10]
    assert sorted(int(p) for payloads in got for p in payloads) == list(range(30))
    assert len(alone.messages()) == 30


def test_groups_are_independent(broker: Broker, publisher: Client) -> None:
    clients = [
        member(broker, "a", "$share/one/t"),
        member(broker, "b", "$share/two/t"),
        member(broker, "c", "$share/one/+"),
        member(broker, "d", "t"),
    ]
    publisher.publish("t")
    assert [len(client.messages()) for client in clients] == [1, 1, 1, 1]


def test_a_session_may_have_both_kinds(broker: Broker, publisher: Client) -> None:
    client = member(broker, "a", "$share/g/t")
    client.subscribe("t")
    publisher.publish("t")
    assert len(client.messages()) == 2


@mqtt("5.0:MQTT-4.8.2-3")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
def test_the_granted_qos_counts(broker: Broker, publisher: Client, granted: int, published: int) -> None:
    client = member(broker, "a", qos=granted)
    publisher.publish("t", qos=published)
    assert client.message().qos == min(granted, published)


@mqtt("5.0:MQTT-3.3.4-5")
def test_subscription_identifiers_of_shared_subscriptions(broker: Broker, publisher: Client) -> None:
    client = broker.connect("c")
    client.subscribe("$share/g/t", identifier=3)
    client.subscribe("t", identifier=4)
    publisher.publish("t")
    found = [m.properties.subscription_identifiers for m in client.messages() if m.properties]
    assert sorted(found) == [(3,), (4,)]


def test_retained_messages_are_not_sent(broker: Broker, publisher: Client) -> None:
    publisher.publish("t", retain=True)
    member(broker, "a").nothing()


def test_retain_as_published_holds_for_shared_subscriptions(broker: Broker, publisher: Client) -> None:
    client = broker.connect("c")
    client.subscribe("$share/g/t", retain_as_published=True)
    publisher.publish("t", retain=True)
    assert client.message().retain


def test_those_who_are_connected_come_first(broker: Broker, publisher: Client) -> None:
    here, away = member(broker, "here"), member(broker, "away")
    away.drop()
    for _ in range(4):
        publisher.publish("t", qos=1)
    assert len(here.messages()) == 4
    away.again().nothing()


def test_with_all_members_away_a_session_keeps_the_message(broker: Broker, publisher: Client) -> None:
    members = [member(broker, "a"), member(broker, "b"), member(broker, "c", qos=0)]
    for client in members:
        client.drop()
    for _ in range(4):
        publisher.publish("t", qos=1)
    publisher.publish("t", qos=0)
    assert broker.dropped("no_subscribers") == 1
    assert [len(client.again().messages()) for client in members] == [2, 2, 0]


@mqtt("5.0:MQTT-4.8.2-4", "5.0:MQTT-4.8.2-5")
def test_qos_2_is_completed_with_the_member_it_was_sent_to(broker: Broker, publisher: Client) -> None:
    one = member(broker, "one")
    publisher.publish("t", b"mine", qos=2)
    sent = one.message(acknowledge=False)
    two = member(broker, "two")
    one.drop()
    two.nothing()
    one = one.again(session_expiry_interval=FOR_EVER)
    again = one.message(acknowledge=False)
    assert (again.packet_id, again.dup) == (sent.packet_id, True)
    one.send(Pubrec(again.packet_id))
    one.next(Pubrel)
    one.drop()
    two.nothing()
    one.again(clean_start=True)  # its session ends
    two.nothing()


@mqtt("5.0:MQTT-4.8.2-5")
def test_qos_2_that_was_sent_goes_to_nobody_else(broker: Broker, publisher: Client) -> None:
    one = member(broker, "one")
    publisher.publish("t", b"mine", qos=2)
    one.message(acknowledge=False)
    two = member(broker, "two")
    one.disconnect(session_expiry_interval=0)
    two.nothing()
    assert broker.dropped("session_terminated") == 1


def test_what_a_member_leaves_behind_goes_to_the_others(broker: Broker, publisher: Client) -> None:
    one = member(broker, "one", receive_maximum=1)
    publisher.publish("t", b"in flight", qos=1)
    publisher.publish("t", b"waiting 1", qos=1)
    publisher.publish("t", b"waiting 2", qos=2)
    assert one.message(acknowledge=False).payload == b"in flight"
    two = member(broker, "two")
    one.disconnect(session_expiry_interval=0)
    messages = two.messages()
    assert [m.payload for m in messages] == [b"in flight", b"waiting 1", b"waiting 2"]
    assert not any(m.dup for m in messages)


@mqtt("5.0:MQTT-3.3.2-5")
def test_what_expired_with_a_member_does_not_go_to_the_others(broker: Broker, publisher: Client) -> None:
    one = member(broker, "one", receive_maximum=1)
    for payload in (b"in flight", b"waiting"):
        publisher.publish("t", payload, qos=1, message_expiry_interval=5)
    publisher.publish("t", b"for ever", qos=1)
    one.drop()
    broker.clock.advance(5)
    two = member(broker, "two")
    one.again(clean_start=True)  # the older session ends
    assert two.payloads() == [b"for ever"]
    assert broker.dropped("expired") == 2


def test_the_last_member_leaves_nothing_to_anybody(broker: Broker, publisher: Client) -> None:
    one = member(broker, "one")
    publisher.publish("t", qos=1)
    one.message(acknowledge=False)
    one.disconnect(session_expiry_interval=0)
    assert broker.dropped("no_subscribers") == 1
    assert publisher.publish("t", qos=1) == R.NO_MATCHING_SUBSCRIBERS


def test_a_member_that_unsubscribes_finishes_what_it_has(broker: Broker, publisher: Client) -> None:
    one, two = member(broker, "one"), member(broker, "two")
    publisher.publish("t", qos=1)
    message = (one if one.pending() else two).message(acknowledge=False)
    leaver, stayer = (one, two) if two.pending() == 0 and message else (two, one)
    leaver.unsubscribe("$share/g/t")
    for _ in range(4):
        publisher.publish("t", qos=1)
    leaver.send(Puback(message.packet_id))
    leaver.nothing()
    assert len(stayer.messages()) == 4


@mqtt("5.0:MQTT-4.8.2-6")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_refused_message_goes_to_nobody_else(broker: Broker, publisher: Client, qos: int) -> None:
    one, two = member(broker, "one"), member(broker, "two")
    publisher.publish("t", qos=qos)
    chosen, other = (one, two) if one.pending() else (two, one)
    message = chosen.message(acknowledge=False)
    refusal = Puback if qos == 1 else Pubrec
    chosen.send(refusal(message.packet_id, R.NOT_AUTHORIZED))
    for client in (chosen, other):
        client.nothing()


def test_a_takeover_keeps_the_membership(broker: Broker, publisher: Client) -> None:
    one = member(broker, "one")
    again = one.again(session_expiry_interval=FOR_EVER)
    publisher.publish("t", qos=1)
    assert len(again.messages()) == 1


def test_the_same_shared_filter_again_is_one_membership(broker: Broker, publisher: Client) -> None:
    one, two = member(broker, "one"), member(broker, "two")
    one.subscribe("$share/g/t", qos=1)
    for _ in range(4):
        publisher.publish("t", qos=2)
    assert [m.qos for m in one.messages()] == [1, 1]
    assert [m.qos for m in two.messages()] == [2, 2]


def test_dollar_topics_are_not_for_shared_wildcards(broker: Broker, publisher: Client) -> None:
    client = member(broker, "a", "$share/g/#")
    publisher.publish("$x")
    client.nothing()
    publisher.publish("x")
    assert isinstance(client.next(Publish), Publish)
