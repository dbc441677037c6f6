"""Strings, flags and packet identifiers: what a broker must not let pass."""

from __future__ import annotations

import pytest

from pybroker.broker.engine.publish import broadcast
from pybroker.broker.packets.encoder import encode
from pybroker.broker.packets.model import (
    Connack,
    Connect,
    Publish,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
    Will,
)
from pybroker.broker.packets.primitives import write_binary
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker, Client, connect_packet

from .versions import every_version, oasis

mqtt = pytest.mark.mqtt
R = ReasonCode

SURROGATE = b"\xed\xa0\x80"
OVERLONG = b"\xc0\xaf"
TRUNCATED = b"\xe2\x82"
NULL = b"a\x00b"
BAD_STRINGS = [SURROGATE, OVERLONG, TRUNCATED, b"\xff", NULL]


def framed(first: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((first, len(body))) + body


def publish_to(topic: bytes, version: int) -> bytes:
    return framed(0x30, write_binary(topic) + (b"\0" if version == 5 else b"") + b"x")


def subscribe_to(topic_filter: bytes, version: int) -> bytes:
    return framed(0x82, b"\0\1" + (b"\0" if version == 5 else b"") + write_binary(topic_filter) + b"\0")


def unsubscribe_from(topic_filter: bytes, version: int) -> bytes:
    return framed(0xA2, b"\0\1" + (b"\0" if version == 5 else b"") + write_binary(topic_filter))


def connect_with(version: int, client_id: bytes = b"c", will: bytes = b"w", username: bytes = b"u") -> bytes:
    body = b"\0\4MQTT" + bytes((version, 0b1000_0110)) + b"\0\0"
    body += (b"\0" if version == 5 else b"") + write_binary(client_id)
    body += (b"\0" if version == 5 else b"") + write_binary(will) + write_binary(b"bye")
    body += write_binary(username)
    return framed(0x10, body)


def refused_connect(client: Client) -> None:
    """5.0 is told so, 3.1.1 is not; both are closed."""
    packets = client.packets()
    if client.version == 5:
        [connack] = packets
        assert isinstance(connack, Connack)
        assert connack.reason >= 0x80
    else:
        assert packets == []
    assert client.is_closed


@mqtt("3.1.1:MQTT-1.5.3-1", "3.1.1:MQTT-1.5.3-2", "3.1.1:MQTT-3.3.2-1", "3.1.1:MQTT-4.7.3-2")
@mqtt("5.0:MQTT-1.5.4-1", "5.0:MQTT-1.5.4-2", "5.0:MQTT-3.3.2-1", "5.0:MQTT-4.7.3-2", "5.0:MQTT-4.13.1-1")
@oasis
@pytest.mark.parametrize("raw", BAD_STRINGS)
def test_a_bad_string_as_topic_name(broker: Broker, version: int, raw: bytes) -> None:
    everything = broker.connect("all")
    everything.subscribe("#")
    client = broker.connect(version=version)
    client.send_bytes(publish_to(raw, version))
    client.closed(R.MALFORMED_PACKET)
    everything.nothing()


@mqtt("3.1.1:MQTT-3.8.3-1", "5.0:MQTT-3.8.3-1", "3.1.1:MQTT-4.7.3-2", "5.0:MQTT-4.7.3-2")
@oasis
@pytest.mark.parametrize("raw", BAD_STRINGS)
def test_a_bad_string_as_filter_of_subscribe(broker: Broker, version: int, raw: bytes) -> None:
    client = broker.connect(version=version)
    client.send_bytes(subscribe_to(raw, version))
    client.closed(R.MALFORMED_PACKET)


@mqtt("3.1.1:MQTT-3.10.3-1", "5.0:MQTT-3.10.3-1")
@oasis
@pytest.mark.parametrize("raw", BAD_STRINGS)
def test_a_bad_string_as_filter_of_unsubscribe(broker: Broker, version: int, raw: bytes) -> None:
    client = broker.connect(version=version)
    client.send_bytes(unsubscribe_from(raw, version))
    client.closed(R.MALFORMED_PACKET)


@mqtt("3.1.1:MQTT-3.1.3-4", "3.1.1:MQTT-3.1.3-10", "3.1.1:MQTT-3.1.3-11", "3.1.1:MQTT-3.1.4-1")
@mqtt("5.0:MQTT-3.1.3-4", "5.0:MQTT-3.1.3-11", "5.0:MQTT-3.1.3-12", "5.0:MQTT-3.1.4-1")
@oasis
@pytest.mark.parametrize("field", ["client_id", "will", "username"])
@pytest.mark.parametrize("raw", BAD_STRINGS)
def test_a_bad_string_in_connect(broker: Broker, version: int, field: str, raw: bytes) -> None:
    client = broker.dial(version)
    client.send_bytes(connect_with(version, **{field: raw}))
    refused_connect(client)
    assert len(broker.engine.sessions) == 0

    good = broker.dial(version)
    good.send_bytes(connect_with(version))
    assert good.next(Connack).reason == R.SUCCESS


@mqtt("3.1.1:MQTT-1.5.3-3", "5.0:MQTT-1.5.4-3")
@oasis
def test_a_byte_order_mark_stays(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.subscribe("#")
    client.send_bytes(publish_to(b"\xef\xbb\xbfa\xef\xbb\xbf", version))
    assert client.message().topic == "\ufeffa\ufeff"


@mqtt("5.0:MQTT-1.5.4-1")
@every_version
@pytest.mark.parametrize("topic", ["\uffff", "\ufdd0", "\U0001fffe", "\x01\x1f\x7f\x9f", "é🚀", "e\u0301"])
def test_noncharacters_and_controls_may_be_sent(broker: Broker, version: int, topic: str) -> None:
    client = broker.connect(version=version)
    assert client.subscribe(topic) == R.GRANTED_QOS_0
    client.publish(topic, b"hi")
    assert client.message().topic == topic


@mqtt("5.0:MQTT-1.5.7-1", "5.0:MQTT-3.3.2-13", "5.0:MQTT-3.3.2-19")
@pytest.mark.parametrize("raw", BAD_STRINGS)
@pytest.mark.parametrize("before", [b"\x26\x00\x01k", b"\x08", b"\x03"], ids=["pair", "response", "content"])
def test_a_bad_string_in_a_property(broker: Broker, before: bytes, raw: bytes) -> None:
    client = broker.connect()
    properties = before + write_binary(raw)
    client.send_bytes(framed(0x30, b"\0\1t" + bytes((len(properties),)) + properties))
    client.closed(R.MALFORMED_PACKET)

    client = broker.connect()
    properties = b"\x26" + write_binary(raw) + b"\x00\x01v"
    client.send_bytes(framed(0x30, b"\0\1t" + bytes((len(properties),)) + properties))
    client.closed(R.MALFORMED_PACKET)


@mqtt("5.0:MQTT-1.5.5-1")
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\xc0\x80\x00", id="remaining length"),
        pytest.param(b"\x30\x06\x00\x01t\x80\x00x", id="property length"),
        pytest.param(b"\x82\x0a\x00\x01\x03\x0b\x81\x00\x00\x01t\x00", id="subscription identifier"),
        pytest.param(b"\xc0\x80\x80\x80\x80\x00", id="five bytes"),
    ],
)
def test_a_variable_byte_integer_that_is_too_long(broker: Broker, raw: bytes) -> None:
    client = broker.connect()
    client.send_bytes(raw)
    client.closed(R.MALFORMED_PACKET)


@mqtt("5.0:MQTT-1.5.5-1")
def test_a_remaining_length_of_connect_that_is_too_long(broker: Broker) -> None:
    client = broker.dial()
    raw = encode(connect_packet(), 5)
    client.send_bytes(raw[:1] + bytes((raw[1] | 0x80, 0)) + raw[2:])
    refused_connect(client)


@mqtt("5.0:MQTT-2.2.2-1")
def test_no_properties_is_a_length_of_zero(broker: Broker) -> None:
    client = broker.connect()
    client.subscribe("t")
    client.link.written.clear()
    client.publish("t", b"hi")
    assert bytes(client.link.written) == b"\x30\x06\x00\x01t\x00hi"


# The fixed header's flags

WRONG_FLAGS = {
    "connect": 0x11,
    "puback": 0x41,
    "pubrec": 0x52,
    "pubrel": 0x60,
    "pubcomp": 0x78,
    "subscribe": 0x80,
    "unsubscribe": 0xA3,
    "pingreq": 0xC1,
    "disconnect": 0xE8,
}
BODIES = {
    "subscribe": {4: b"\0\1\0\1t\0", 5: b"\0\1\0\0\1t\0"},
    "unsubscribe": {4: b"\0\1\0\1t", 5: b"\0\1\0\0\1t"},
    "pingreq": {4: b"", 5: b""},
    "disconnect": {4: b"", 5: b""},
}


@mqtt("3.1.1:MQTT-2.2.2-1", "3.1.1:MQTT-2.2.2-2", "3.1.1:MQTT-3.6.1-1", "3.1.1:MQTT-3.8.1-1")
@mqtt("3.1.1:MQTT-3.10.1-1", "5.0:MQTT-2.1.3-1", "5.0:MQTT-3.6.1-1", "5.0:MQTT-3.8.1-1", "5.0:MQTT-3.10.1-1")
@oasis
@pytest.mark.parametrize("packet", [name for name in WRONG_FLAGS if name != "connect"])
def test_wrong_flags(broker: Broker, version: int, packet: str) -> None:
    client = broker.connect(version=version)
    body = BODIES.get(packet, {4: b"\0\1", 5: b"\0\1"})[version]
    client.send_bytes(framed(WRONG_FLAGS[packet], body))
    client.closed(R.MALFORMED_PACKET)


@mqtt("3.1.1:MQTT-3.14.1-1", "5.0:MQTT-3.14.1-1")
@oasis
def test_disconnect_with_wrong_flags_publishes_the_will(broker: Broker, version: int) -> None:
    watcher = broker.connect("w")
    watcher.subscribe("will")
    client = broker.connect(version=version, will=Will("will", b"gone"))
    client.send_bytes(b"\xe1\x00")
    client.closed(R.MALFORMED_PACKET)
    assert watcher.payloads() == [b"gone"]


@mqtt("5.0:MQTT-3.15.1-1")
def test_auth_with_wrong_flags(broker: Broker) -> None:
    client = broker.connect()
    client.send_bytes(b"\xf1\x00")
    client.closed(R.MALFORMED_PACKET)


def test_connect_with_wrong_flags(broker: Broker) -> None:
    for version in (4, 5):
        client = broker.dial(version)
        raw = encode(connect_packet("c", version), version)
        client.send_bytes(bytes((0x11,)) + raw[1:])
        assert client.is_closed
        assert "c" not in broker.engine.sessions


@mqtt("3.1.1:MQTT-3.3.1-4", "5.0:MQTT-3.3.1-4")
@oasis
def test_qos_3(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.send_bytes(framed(0x36, b"\0\1t\0\1" + (b"\0" if version == 5 else b"")))
    client.closed(R.MALFORMED_PACKET)


@mqtt("3.1.1:MQTT-3.3.1-2", "5.0:MQTT-3.3.1-2")
@oasis
def test_dup_at_qos_0(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.send_bytes(framed(0x38, b"\0\1t" + (b"\0" if version == 5 else b"")))
    client.closed(R.MALFORMED_PACKET)


# Packet identifiers


@mqtt("3.1.1:MQTT-2.3.1-1", "5.0:MQTT-2.2.1-3")
@oasis
@pytest.mark.parametrize("packet", ["publish 1", "publish 2", "subscribe", "unsubscribe", "puback"])
def test_identifier_zero(broker: Broker, version: int, packet: str) -> None:
    properties = b"\0" if version == 5 else b""
    raw = {
        "publish 1": framed(0x32, b"\0\1t\0\0" + properties + b"x"),
        "publish 2": framed(0x34, b"\0\1t\0\0" + properties + b"x"),
        "subscribe": framed(0x82, b"\0\0" + properties + b"\0\1t\0"),
        "unsubscribe": framed(0xA2, b"\0\0" + properties + b"\0\1t"),
        "puback": b"\x40\x02\0\0",
    }[packet]
    client = broker.connect(version=version)
    client.send_bytes(raw)
    client.closed(R.PROTOCOL_ERROR)


@mqtt("3.1.1:MQTT-2.3.1-5", "5.0:MQTT-2.2.1-2")
@oasis
def test_qos_0_has_no_identifier(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.subscribe("t", qos=2)
    client.link.written.clear()
    client.publish("t", b"\x12\x34")
    properties = b"\0" if version == 5 else b""
    assert bytes(client.link.written) == framed(0x30, b"\0\1t" + properties + b"\x12\x34")


@mqtt("3.1.1:MQTT-2.3.1-6", "5.0:MQTT-2.2.1-5", "3.1.1:MQTT-2.3.1-7", "5.0:MQTT-2.2.1-6")
@oasis
@pytest.mark.parametrize("packet_id", [1, 255, 256, 4711, 65_535])
def test_answers_have_the_identifier_of_the_question(broker: Broker, version: int, packet_id: int) -> None:
    client = broker.connect(version=version)
    client.publish("t", qos=1, packet_id=packet_id)  # the harness compares
    client.publish("t", qos=2, packet_id=packet_id)
    client.send(Subscribe(packet_id, [SubscribeFilter("t", 0)]))
    assert client.next(Suback).packet_id == packet_id
    client.send(Unsubscribe(packet_id, ["t"]))
    assert client.next(Unsuback).packet_id == packet_id


@mqtt("3.1.1:MQTT-2.3.1-4", "5.0:MQTT-2.2.1-4", "3.1.1:MQTT-4.3.2-1", "3.1.1:MQTT-4.3.3-1")
@mqtt("5.0:MQTT-4.3.2-1", "5.0:MQTT-4.3.3-1")
@oasis
def test_the_broker_uses_free_identifiers_only(version: int) -> None:
    broker = Broker(max_inflight_window=65_535, max_mqueue_len=10)
    client = broker.connect(version=version)
    client.subscribe("t", qos=2)
    for number in range(70_000):
        broadcast(broker.engine, "t", b"%d" % number, qos=1 + number % 2)
    broker.engine.flush()
    messages = [client.message(acknowledge=False) for _ in range(client.pending())]
    assert len(messages) == 65_535  # every identifier there is
    assert {m.packet_id for m in messages} == set(range(1, 65_536))
    client.acknowledge(messages[1000], messages[2])  # two come free, in this order
    fresh = [client.next(Publish), client.next(Publish)]
    assert {m.packet_id for m in fresh} == {messages[1000].packet_id, messages[2].packet_id}


def test_connect_packet_of_the_harness_is_what_it_says() -> None:
    assert connect_packet("c", 3).protocol_name == "MQIsdp"
    assert isinstance(connect_packet("c", 5, session_expiry_interval=1), Connect)
