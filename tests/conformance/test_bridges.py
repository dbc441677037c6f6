"""Clients that are bridges of another broker, as mosquitto and NanoMQ say it; no part of the standard."""

from __future__ import annotations

import pytest

from pybroker.broker.packets.model import Connack, Publish, Will
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker, Client, connect_packet

versions = pytest.mark.parametrize("version", [3, 4])


def bridge(broker: Broker, version: int) -> Client:
    client = broker.dial(version)
    packet = connect_packet("bridge", version, clean_start=False)
    packet.bridge = True
    client.send(packet)
    client.client_id = "bridge"
    assert client.next(Connack).reason == ReasonCode.SUCCESS
    return client


@versions
def test_what_a_bridge_publishes_does_not_come_back(broker: Broker, version: int) -> None:
    client = bridge(broker, version)
    client.subscribe("#", qos=1)
    client.publish("a", b"own", qos=1)
    client.nothing()
    other = broker.connect("other")
    other.publish("a", b"other's", qos=1)
    assert client.payloads() == [b"other's"]
    client.drop()
    other.publish("a", b"meanwhile", qos=1)
    client = bridge(broker, version)
    assert client.payloads() == [b"meanwhile"]
    client.publish("a", b"own", qos=1)
    client.nothing()


@versions
def test_retained_messages_stay_retained_on_their_way(broker: Broker, version: int) -> None:
    client = bridge(broker, version)
    client.subscribe("#")
    plain = broker.connect("plain", 4)
    plain.subscribe("#")
    broker.connect("other").publish("a", b"kept", retain=True)
    assert [m.retain for m in client.messages()] == [True]
    assert [m.retain for m in plain.messages()] == [False]


@versions
def test_a_shared_subscription_of_a_bridge_is_like_any(broker: Broker, version: int) -> None:
    client = bridge(broker, version)
    assert client.subscribe("$share/g/a") == 0
    client.publish("a", b"own")
    assert client.next(Publish).payload == b"own"


STATE = "$SYS/broker/connection/one/state"


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_bridge_of_mosquitto_tells_its_state(broker: Broker, version: int) -> None:
    watch = broker.connect("watch")
    watch.subscribe("$SYS/broker/connection/+/state")
    client = broker.connect("bridge", version, will=Will(STATE, b"0", 1, True))
    client.publish(STATE, b"1", qos=1, retain=True)
    client.drop()
    assert watch.payloads() == [b"1", b"0"]
    assert broker.retained() == {STATE: b"0"}


@pytest.mark.parametrize(
    "topic",
    [
        "$SYS/broker/connection/one/state/x",
        "$SYS/broker/connection/one/two/state",
        "$SYS/broker/connection/state",
        "$SYS/brokers/connection/one/state",
        "$SYS/broker/connection/one/statex",
        "$SYS/brokers/version",
    ],
)
def test_the_rest_of_sys_stays_the_brokers_own(broker: Broker, topic: str) -> None:
    client = broker.connect("bridge")
    assert client.publish(topic, b"1", qos=1, retain=True) == ReasonCode.NOT_AUTHORIZED
    assert broker.retained() == {}
    assert broker.dial().connect("c", will=Will(topic, b"0")).reason == ReasonCode.NOT_AUTHORIZED
