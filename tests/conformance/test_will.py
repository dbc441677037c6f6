"""Wills: when they are published, when not, and as what (section 3.1.2.5)."""

from __future__ import annotations

import pytest

from pybroker.broker.packets.model import Disconnect, Will
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker, Client

from .versions import every_version, oasis

mqtt = pytest.mark.mqtt
R = ReasonCode


@pytest.fixture
def watcher(broker: Broker) -> Client:
    watcher = broker.connect("watcher")
    watcher.subscribe("#", qos=2, retain_as_published=True)
    return watcher


def delayed(seconds: int, payload: bytes = b"bye") -> Will:
    return Will("will", payload, properties=Properties(will_delay_interval=seconds))


@mqtt("3.1.1:MQTT-3.1.2-8", "5.0:MQTT-3.1.2-7", "5.0:MQTT-3.1.2-8", "3.1.1:MQTT-3.1.2-9", "5.0:MQTT-3.1.2-9")
@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_lost_connection(broker: Broker, watcher: Client, version: int, qos: int) -> None:
    client = broker.connect("c", version, will=Will("will", b"bye", qos))
    watcher.nothing()
    client.drop()
    will = watcher.message()
    assert (will.topic, will.payload, will.qos) == ("will", b"bye", qos)
    watcher.nothing()


@mqtt("3.1.1:MQTT-3.1.2-8", "5.0:MQTT-3.1.2-8")
@every_version
def test_a_violation(broker: Broker, watcher: Client, version: int) -> None:
    client = broker.connect("c", version, will=Will("will", b"bye"))
    client.send_bytes(b"\xf0\x00" if version < 5 else b"\x00\x00")
    assert watcher.payloads() == [b"bye"]


@mqtt("3.1.1:MQTT-3.14.4-3", "5.0:MQTT-3.14.4-3", "3.1.1:MQTT-3.1.2-10", "5.0:MQTT-3.1.2-10")
@every_version
def test_disconnect_discards_the_will(broker: Broker, watcher: Client, version: int) -> None:
    client = broker.connect("c", version, will=Will("will", b"bye"))
    client.disconnect()
    client.channel.lost()
    watcher.nothing()


@pytest.mark.parametrize("reason", [R.DISCONNECT_WITH_WILL_MESSAGE, R.UNSPECIFIED_ERROR])
def test_disconnect_with_another_reason_publishes_it(
    broker: Broker, watcher: Client, reason: ReasonCode
) -> None:
    client = broker.connect("c", will=Will("will", b"bye"))
    client.disconnect(reason)
    assert watcher.payloads() == [b"bye"]


@mqtt("3.1.1:MQTT-3.1.2-12")
@every_version
def test_no_will_no_message(broker: Broker, watcher: Client, version: int) -> None:
    broker.connect("c", version).drop()
    watcher.nothing()


@mqtt("3.1.1:MQTT-3.1.2-10", "5.0:MQTT-3.1.2-10")
@oasis
def test_a_will_is_published_once(broker: Broker, watcher: Client, version: int) -> None:
    kept = {"session_expiry_interval": 100} if version == 5 else {}
    broker.connect("c", version, clean_start=False, will=Will("will", b"bye"), **kept).drop()
    assert watcher.payloads() == [b"bye"]
    broker.connect("c", version, clean_start=False, **kept).drop()
    broker.clock.advance(1000)
    watcher.nothing()


@mqtt("3.1.1:MQTT-3.1.2-10", "5.0:MQTT-3.1.2-10")
@oasis
def test_a_will_is_not_published_again_when_the_session_ends(version: int) -> None:
    broker = Broker(session_expiry=100.0)
    watcher = broker.connect("watcher")
    watcher.subscribe("will")
    kept = {"session_expiry_interval": 100} if version == 5 else {}
    broker.connect("c", version, clean_start=False, will=Will("will", b"bye"), **kept).drop()
    assert watcher.payloads() == [b"bye"]
    broker.clock.advance(100)
    assert "c" not in broker.engine.sessions
    watcher.nothing()


@mqtt("3.1.1:MQTT-3.1.2-16", "5.0:MQTT-3.1.2-14", "3.1.1:MQTT-3.1.2-17", "5.0:MQTT-3.1.2-15")
@every_version
@pytest.mark.parametrize("retain", [False, True])
def test_will_retain(broker: Broker, watcher: Client, version: int, retain: bool) -> None:
    broker.connect("c", version, will=Will("will", b"bye", 1, retain)).drop()
    assert watcher.message().retain is retain
    assert broker.retained() == ({"will": b"bye"} if retain else {})


def test_an_empty_retained_will_clears_the_topic(broker: Broker) -> None:
    broker.connect("p").publish("will", b"there", retain=True)
    broker.connect("c", will=Will("will", b"", 0, True)).drop()
    assert broker.retained() == {}


@mqtt("5.0:MQTT-3.1.2-8")
def test_will_delay(broker: Broker, watcher: Client) -> None:
    broker.connect("c", session_expiry_interval=100, will=delayed(10)).drop()
    broker.clock.advance(9.9)
    watcher.nothing()
    broker.clock.advance(0.1)
    assert watcher.payloads() == [b"bye"]
    broker.clock.advance(1000)
    watcher.nothing()


@mqtt("5.0:MQTT-3.1.2-8")
@pytest.mark.parametrize("expiry", [0, 5])
def test_the_end_of_the_session_cuts_the_delay(broker: Broker, watcher: Client, expiry: int) -> None:
    broker.connect("c", session_expiry_interval=expiry, will=delayed(10)).drop()
    broker.clock.advance(expiry)
    assert watcher.payloads() == [b"bye"]
    broker.clock.advance(1000)
    watcher.nothing()


@mqtt("5.0:MQTT-3.1.3-9")
def test_coming_back_in_time_withdraws_the_will(broker: Broker, watcher: Client) -> None:
    client = broker.connect("c", session_expiry_interval=100, will=delayed(10))
    client.drop()
    broker.clock.advance(9)
    back = client.again(session_expiry_interval=100, will=delayed(10, b"second"))
    broker.clock.advance(50)
    watcher.nothing()
    back.drop()
    broker.clock.advance(10)
    assert watcher.payloads() == [b"second"]


@mqtt("5.0:MQTT-3.1.2-8")
def test_coming_back_with_a_clean_start_ends_the_session_and_publishes_the_will(
    broker: Broker, watcher: Client
) -> None:
    client = broker.connect("c", session_expiry_interval=100, will=delayed(10))
    client.drop()
    client.again(clean_start=True)
    assert watcher.payloads() == [b"bye"]


@mqtt("5.0:MQTT-3.1.3-9", "5.0:MQTT-3.1.2-8", "3.1.1:MQTT-3.1.2-8")
@pytest.mark.parametrize(
    ("version", "delay", "clean", "published"),
    [
        (5, 10, False, False),
        (5, 10, True, True),
        (5, 0, False, True),
        (5, 0, True, True),
        (4, 0, False, True),
        (4, 0, True, True),
    ],
)
def test_a_will_on_takeover(
    broker: Broker, watcher: Client, version: int, delay: int, clean: bool, published: bool
) -> None:
    will = delayed(delay) if version == 5 else Will("will", b"bye")
    kept = {"session_expiry_interval": 100} if version == 5 else {}
    broker.connect("c", version, clean_start=False, will=will, **kept)
    broker.connect("c", version, clean_start=clean, **kept)
    assert watcher.payloads() == ([b"bye"] if published else [])
    broker.clock.advance(1000)
    watcher.nothing()


def test_disconnect_with_will_waits_for_the_delay_too(broker: Broker, watcher: Client) -> None:
    client = broker.connect("c", session_expiry_interval=100, will=delayed(10))
    client.disconnect(R.DISCONNECT_WITH_WILL_MESSAGE)
    watcher.nothing()
    broker.clock.advance(10)
    assert watcher.payloads() == [b"bye"]


def test_disconnect_that_ends_the_session_publishes_at_once(broker: Broker, watcher: Client) -> None:
    client = broker.connect("c", session_expiry_interval=100, will=delayed(10))
    client.disconnect(R.DISCONNECT_WITH_WILL_MESSAGE, session_expiry_interval=0)
    assert watcher.payloads() == [b"bye"]


@mqtt("5.0:MQTT-3.1.3-10", "5.0:MQTT-3.3.2-4", "5.0:MQTT-3.3.2-15", "5.0:MQTT-3.3.2-16", "5.0:MQTT-3.3.2-20")
def test_the_properties_of_a_will(broker: Broker, watcher: Client) -> None:
    pairs = (("b", "1"), ("a", "2"), ("b", "3"))
    given = Properties(
        will_delay_interval=5,
        payload_format_indicator=1,
        message_expiry_interval=60,
        content_type="text",
        response_topic="answers",
        correlation_data=b"\0\1",
        user_properties=pairs,
    )
    broker.connect("c", session_expiry_interval=100, will=Will("will", b"bye", properties=given)).drop()
    broker.clock.advance(5)
    properties = watcher.message().properties
    assert properties == Properties(
        payload_format_indicator=1,
        message_expiry_interval=60,  # it counts from the moment of publication
        content_type="text",
        response_topic="answers",
        correlation_data=b"\0\1",
        user_properties=pairs,
    )


@every_version
def test_a_client_that_stays_gets_the_will_of_its_older_self(broker: Broker, version: int) -> None:
    kept = {"session_expiry_interval": 100} if version == 5 else {}
    old = broker.connect("c", version, clean_start=False, will=Will("will", b"bye", 1), **kept)
    old.subscribe("will", qos=1)
    new = old.again()
    assert new.payloads() == [b"bye"]


def test_a_stopping_broker_publishes_wills(broker: Broker, watcher: Client) -> None:
    client = broker.connect("c", will=Will("will", b"bye"))
    client.channel.close(R.SERVER_SHUTTING_DOWN)
    client.next(Disconnect)
    assert watcher.payloads() == [b"bye"]
