"""The table of cases, written; and PUBLISH in every shape a receiver may need."""

from __future__ import annotations

from itertools import product

import pytest

from pybroker.broker.packets import encoder
from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.encoder import encode, make_publish, publish_shape
from pybroker.broker.packets.model import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Will,
)
from pybroker.broker.packets.packet_type import PacketType
from pybroker.broker.packets.primitives import write_byte, write_four, write_string, write_two, write_variable
from pybroker.broker.packets.properties import PROPERTIES, Properties, encode_properties
from pybroker.broker.packets.reasons import ReasonCode

from .cases import GOOD, Case


def decode(raw: bytes, version: int) -> Packet:
    decoder = Decoder(1_000_000)
    decoder.version = version
    packets = decoder.feed(raw)
    assert decoder.error is None
    assert len(packets) == 1
    return packets[0]


@pytest.mark.parametrize("case", [case for case in GOOD if case.canonical], ids=str)
def test_written_as_in_the_table(case: Case) -> None:
    assert encode(case.expected, case.version) == case.raw


@pytest.mark.parametrize("case", [case for case in GOOD if not case.canonical], ids=str)
def test_written_in_another_way_it_is_the_same_packet(case: Case) -> None:
    assert decode(encode(case.expected, case.version), case.version) == case.expected


@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535])
def test_ready_made_acknowledgements(packet_id: int) -> None:
    for version in (3, 4, 5):
        for _ in range(2):
            assert encoder.puback(packet_id) == encode(Puback(packet_id), version)
            assert encoder.pubrec(packet_id) == encode(Pubrec(packet_id), version)
            assert encoder.pubrel(packet_id) == encode(Pubrel(packet_id), version)
            assert encoder.pubcomp(packet_id) == encode(Pubcomp(packet_id), version)


@pytest.mark.parametrize("version", [3, 4])
def test_what_old_versions_cannot_say_is_left_out(version: int) -> None:
    properties = Properties(reason_string="why")
    assert encode(Puback(7, ReasonCode.NOT_AUTHORIZED, properties), version) == b"\x40\x02\x00\x07"
    assert encode(Disconnect(ReasonCode.SERVER_BUSY, properties), version) == b"\xe0\x00"
    assert encode(Connack(False, ReasonCode.BANNED, properties), version) == b"\x20\x02\x00\x05"
    assert encode(Suback(7, [ReasonCode.GRANTED_QOS_1, ReasonCode.NOT_AUTHORIZED], properties), version) == (
        b"\x90\x04\x00\x07\x01\x80"
    )
    assert (
        encode(Unsuback(7, [ReasonCode.NO_SUBSCRIPTION_EXISTED], properties), version) == b"\xb0\x02\x00\x07"
    )
    wanted = Subscribe(7, [SubscribeFilter("a", 1, True, True, 2)], properties)
    assert encode(wanted, version) == b"\x82\x06\x00\x07\x00\x01a\x01"
    assert encode(make_publish("a", b"b", properties=Properties(topic_alias=1), version=5), version) == (
        b"\x30\x04\x00\x01ab"
    )
    with pytest.raises(ValueError, match=r"no AUTH below MQTT 5\.0"):
        encode(Auth(), version)


def test_session_present_is_only_said_where_it_may() -> None:
    assert encode(Connack(True), 3) == b"\x20\x02\x00\x00"
    assert encode(Connack(True, ReasonCode.BANNED), 5) == b"\x20\x03\x00\x8a\x00"  # [MQTT-3.2.2-6]


def test_connect_goes_by_its_own_version() -> None:
    connect = Connect("MQTT", 4, True, 60, "c1")
    assert encode(connect, 5) == encode(connect, 4)


def test_password_is_not_shown() -> None:
    assert "secret" not in repr(Connect("MQTT", 4, True, 60, "c1", "me", b"secret"))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda: write_byte(256), "256 does not fit"),
        (lambda: write_two(-1), "-1 does not fit"),
        (lambda: write_two(65_536), "65536 does not fit"),
        (lambda: write_four(1 << 32), "does not fit into 4 bytes"),
        (lambda: write_variable(268_435_456), "not between 0 and 268,435,455"),
        (lambda: write_variable(-1), "not between 0 and 268,435,455"),
        (lambda: write_string("x" * 65_536), "longer than 65,535 bytes"),
        (lambda: write_string("é" * 32_768), "longer than 65,535 bytes"),
        (lambda: write_string("a\0b"), "null character"),
        (lambda: write_string("\ud800"), "surrogates"),
        (lambda: make_publish("x" * 65_536, b""), "longer than 65,535 bytes"),
        (lambda: make_publish("a", b"", properties=Properties(), version=4), "no room for properties"),
        (lambda: encode(Connect("MQTT", 4, True, 65_536, ""), 4), "65536 does not fit"),
        (lambda: encode(Connect("MQTT", 4, True, 0, "", will=Will("w", bytes(65_536))), 4), "longer than"),
        (lambda: encode_properties(Properties(receive_maximum=65_536), PacketType.CONNECT), "does not fit"),
    ],
)
def test_what_does_not_fit_is_a_value_error(write, says) -> None:
    with pytest.raises(ValueError, match=says):
        write()


def test_properties_that_do_not_belong_in_the_packet_are_left_out() -> None:
    will = Properties(will_delay_interval=5, content_type="t")
    assert encode_properties(will, PacketType.WILL) == b"\x09\x03\x00\x01t\x18\x00\x00\x00\x05"
    assert encode_properties(will, PacketType.PUBLISH) == b"\x04\x03\x00\x01t"
    assert encode_properties(will, PacketType.CONNACK) == b"\x00"
    assert encode_properties(None, PacketType.CONNACK) == b"\x00"


def test_there_is_a_field_for_each_property() -> None:
    fields = set(Properties.__dataclass_fields__)
    assert {known.field for known in PROPERTIES} == fields
    assert len(PROPERTIES) == len({known.identifier for known in PROPERTIES}) == len(fields) == 27


# Publishers: what came in.

MESSAGE_PROPERTIES = Properties(
    payload_format_indicator=1,
    message_expiry_interval=60,
    content_type="text/plain",
    response_topic="r",
    correlation_data=b"c",
    user_properties=(("k", "v"), ("k", "w")),
)


def came_in() -> list[Publish]:
    publishes = []
    for version, qos, retain, dup in product((3, 4, 5), (0, 1, 2), (False, True), (False, True)):
        if dup and not qos:
            continue
        for properties in (None, MESSAGE_PROPERTIES) if version == 5 else (None,):
            for payload in (b"", b"hi", bytes(200)):
                raw = make_publish(
                    "a/é",
                    payload,
                    qos=qos,
                    retain=retain,
                    dup=dup,
                    packet_id=513 if qos else 0,
                    properties=properties,
                    version=version,
                ).wire
                packet = decode(raw, version)
                assert isinstance(packet, Publish)
                publishes.append(packet)
    return publishes


def assemble(shape: tuple[bytes, bytes], qos: int, packet_id: int) -> bytes:
    head, tail = shape
    if qos:
        return head + packet_id.to_bytes(2) + tail
    assert tail == b""
    return head


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("identifiers", [(), (1,), (300, 1)])
@pytest.mark.parametrize("expiry", [None, 0, 9])
def test_every_shape(
    version: int, qos: int, retain: bool, identifiers: tuple[int, ...], expiry: int | None
) -> None:
    for publish in came_in():
        shape = publish_shape(publish, version, qos, retain, identifiers, expiry)
        packet = decode(assemble(shape, qos, 77), version)
        assert isinstance(packet, Publish)
        assert (packet.topic, packet.payload) == (publish.topic, publish.payload)
        assert (packet.qos, packet.retain, packet.dup) == (qos, retain, False)
        assert packet.packet_id == (77 if qos else 0)
        assert packet.properties == _expected(publish.properties, version, identifiers, expiry)


def _expected(
    published: Properties | None, version: int, identifiers: tuple[int, ...], expiry: int | None
) -> Properties | None:
    if version != 5:
        return None
    expected = Properties(subscription_identifiers=identifiers, message_expiry_interval=expiry)
    if published is not None:
        expected.payload_format_indicator = published.payload_format_indicator
        expected.content_type = published.content_type
        expected.response_topic = published.response_topic
        expected.correlation_data = published.correlation_data
        expected.user_properties = published.user_properties
        if expiry is None:
            expected.message_expiry_interval = published.message_expiry_interval
    return None if expected == Properties() else expected


@pytest.mark.parametrize("version", [3, 4, 5])
def test_same_shape_at_qos_0_is_the_bytes_that_came(version: int) -> None:
    properties = MESSAGE_PROPERTIES if version == 5 else None
    publish = make_publish("a", b"b", properties=properties, version=version)
    assert publish_shape(publish, version, 0, False)[0] is publish.wire


def test_old_versions_share_their_shape() -> None:
    publish = make_publish("a", b"b", version=3)
    assert publish_shape(publish, 4, 0, False)[0] is publish.wire


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("topic", ["", "resolved/topic"])
@pytest.mark.parametrize(
    "properties",
    [
        Properties(topic_alias=5),
        Properties(subscription_identifiers=(9,)),
        Properties(topic_alias=5, subscription_identifiers=(9,)),
    ],
)
def test_alias_and_identifiers_of_the_publisher_are_not_handed_on(
    properties: Properties, topic: str, qos: int
) -> None:
    publish = make_publish(topic, b"hi", qos=qos, packet_id=qos, properties=properties, version=5)
    publish.topic = "resolved/topic"
    packet = decode(assemble(publish_shape(publish, 5, qos, False), qos, 3), 5)
    assert isinstance(packet, Publish)
    assert packet.topic == "resolved/topic"
    assert packet.payload == b"hi"
    assert packet.properties is None


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_message_of_the_broker_for_one_version(version: int, qos: int) -> None:
    publish = make_publish("a/b", b"hi", qos=qos, retain=True, version=version)
    packet = decode(assemble(publish_shape(publish, version, qos, True), qos, 9), version)
    assert isinstance(packet, Publish)
    assert (packet.topic, packet.payload, packet.qos, packet.retain) == ("a/b", b"hi", qos, True)
    assert publish.payload == b"hi"
    assert publish.expires_at is None


def test_a_message_of_the_broker_for_all_versions() -> None:
    assert make_publish("a", b"").version == 4
    publish = make_publish("a", b"", properties=Properties(content_type="t"))
    assert publish.version == 5
    packet = decode(publish_shape(publish, 5, 0, False)[0], 5)
    assert packet == publish
