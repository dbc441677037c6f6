"""CONNECT and CONNACK: sections 3.1 and 3.2."""

from __future__ import annotations

import pytest

from pybroker.broker.config.settings import Limits
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import Auth, Connack, Disconnect, Packet, Pingreq, Pingresp, Suback, Will
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import FOR_EVER, Broker, Client, connect_packet

from .versions import every_version, oasis

mqtt = pytest.mark.mqtt
R = ReasonCode


def refused(client: Client, reason: ReasonCode) -> None:
    """CONNACK with the reason, session present 0, then the end."""
    connack = client.next(Connack)
    assert connack.reason == reason, connack
    assert not connack.session_present
    client.closed()


def spoil(packet: Packet, version: int, changes: dict[int, int]) -> bytes:
    raw = bytearray(encode(packet, version))
    for position, value in changes.items():
        raw[position] = value
    return bytes(raw)


# First things first


@mqtt("3.1.1:MQTT-3.1.0-1", "5.0:MQTT-3.1.0-1", "5.0:MQTT-3.14.0-1", "3.1.1:MQTT-3.2.2-6")
@every_version
@pytest.mark.parametrize(
    "raw",
    [
        b"\xc0\x00",
        b"\x30\x03\x00\x01t",
        b"\xe0\x00",
        b"\x82\x06\0\1\0\1t\0",
        b"\x20\x02\0\0",
        b"GET / HTTP" * 9,
    ],
)
def test_the_first_packet_is_connect(broker: Broker, version: int, raw: bytes) -> None:
    client = broker.dial(version)
    client.send_bytes(raw)
    client.closed()


@mqtt("3.1.1:MQTT-3.1.0-2", "5.0:MQTT-3.1.0-2", "5.0:MQTT-3.2.0-2", "3.1.1:MQTT-4.8.0-1")
@every_version
def test_a_second_connect(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.send(connect_packet("c", version))
    client.closed(R.PROTOCOL_ERROR)


@mqtt("3.1.1:MQTT-3.2.0-1", "5.0:MQTT-3.2.0-1", "3.1.1:MQTT-3.1.4-4", "5.0:MQTT-3.1.4-5")
@every_version
def test_what_is_sent_right_after_connect_is_answered_after_connack(broker: Broker, version: int) -> None:
    client = broker.dial(version)
    client.send(connect_packet("c", version), Pingreq(), Pingreq())
    assert client.packets()[1:] == [Pingresp(), Pingresp()]


@mqtt("3.1.1:MQTT-3.2.0-1", "5.0:MQTT-3.2.0-1")
@oasis
def test_connack_comes_before_the_messages_that_waited(broker: Broker, version: int) -> None:
    kept = {"session_expiry_interval": FOR_EVER} if version == 5 else {}
    client = broker.connect("c", version, clean_start=False, **kept)
    client.subscribe("t", qos=1)
    client.drop()
    broker.connect("p").publish("t", qos=1)
    back = broker.dial(version)
    back.send(connect_packet("c", version, clean_start=False))
    first, *rest = back.packets()
    assert isinstance(first, Connack)
    assert len(rest) == 1


@mqtt("3.1.1:MQTT-3.1.4-5", "5.0:MQTT-3.1.4-6", "3.1.1:MQTT-3.1.4-1", "5.0:MQTT-3.1.4-1")
@oasis
def test_nothing_after_a_refused_connect_is_processed(broker: Broker, version: int) -> None:
    watcher = broker.connect("w")
    watcher.subscribe("#")
    client = broker.dial(version)
    bad = spoil(connect_packet("c", version), version, {9: 0x03})  # the reserved flag
    client.send_bytes(bad + b"\x30\x04\x00\x01t" + (b"\0" if version == 5 else b"x") + b"\xc0\x00")
    client.send_bytes(b"\xc0\x00")
    assert client.is_closed
    assert Pingresp() not in client.packets()
    watcher.nothing()


@mqtt("3.1.1:MQTT-3.1.4-5", "5.0:MQTT-3.1.4-6")
@oasis
@pytest.mark.parametrize("later", [False, True])
def test_nothing_after_a_connect_that_was_not_let_in_is_processed(
    broker: Broker, version: int, later: bool
) -> None:
    async def not_this_one(credentials):  # type: ignore[no-untyped-def]
        return R.NOT_AUTHORIZED

    watcher = broker.connect("w")
    watcher.subscribe("#")
    refuse = not_this_one if later else lambda credentials: R.NOT_AUTHORIZED
    broker.engine.access.authenticators = (refuse,)
    client = broker.dial(version)
    publish = make_publish("t", b"x", version=version)
    client.send(connect_packet("c", version), publish)
    broker.answer()
    client.send(publish)
    refused(client, R.NOT_AUTHORIZED)
    watcher.nothing()


# The protocol


@mqtt("3.1.1:MQTT-3.1.2-1", "5.0:MQTT-3.1.2-1")
@pytest.mark.parametrize("name", [b"MQTT\0", b"mqtt", b"MQIsdpp", b"HTTP", b"", b"MQT"])
@pytest.mark.parametrize("level", [4, 5])
def test_another_protocol_name(broker: Broker, name: bytes, level: int) -> None:
    client = broker.dial(4)
    body = len(name).to_bytes(2) + name + bytes((level, 2, 0, 0)) + b"\0" * (level == 5) + b"\0\1c"
    client.send_bytes(bytes((0x10, len(body))) + body)
    client.closed()
    assert len(broker.engine.sessions) == 0


def test_the_fixed_header_of_connect_has_no_flags_in_3_1(broker: Broker) -> None:
    client = broker.dial(3)
    client.send_bytes(b"\x1f" + encode(connect_packet("c", 3), 3)[1:])
    assert client.next(Connack).reason == R.SUCCESS


@mqtt("3.1.1:MQTT-2.2.2-2", "5.0:MQTT-2.1.3-1")
@oasis
def test_the_fixed_header_of_connect_has_reserved_flags(broker: Broker, version: int) -> None:
    client = broker.dial(version)
    client.send_bytes(b"\x11" + encode(connect_packet("c", version), version)[1:])
    if version == 5:
        assert client.next(Connack).reason == R.MALFORMED_PACKET
    assert client.packets() == []
    assert client.is_closed


@mqtt("3.1.1:MQTT-3.1.2-2", "5.0:MQTT-3.1.2-2", "3.1.1:MQTT-3.2.2-5")
@pytest.mark.parametrize("level", [0, 1, 2, 3, 6, 127, 0x83, 0x85, 255])
def test_another_protocol_level(broker: Broker, level: int) -> None:
    client = broker.dial(4)
    client.send_bytes(spoil(connect_packet("c", 4), 4, {8: level}))
    assert bytes(client.link.written) == b"\x20\x02\x00\x01"
    refused(client, R.UNSUPPORTED_PROTOCOL_VERSION)


@mqtt("3.1.1:MQTT-3.1.2-3", "5.0:MQTT-3.1.2-3")
@oasis
def test_the_reserved_flag(broker: Broker, version: int) -> None:
    client = broker.dial(version)
    client.send_bytes(spoil(connect_packet("c", version), version, {9: 0x03}))
    if version == 5:
        refused(client, R.MALFORMED_PACKET)
    else:
        client.closed()


WILL, USERNAME, PASSWORD = 0x04, 0x80, 0x40


@mqtt("3.1.1:MQTT-3.1.2-11", "3.1.1:MQTT-3.1.2-13", "3.1.1:MQTT-3.1.2-14", "3.1.1:MQTT-3.1.2-15")
@mqtt("5.0:MQTT-3.1.2-11", "5.0:MQTT-3.1.2-12", "5.0:MQTT-3.1.2-13")
@oasis
@pytest.mark.parametrize("flags", [0x08, 0x10, 0x18, 0x20, 0x28, WILL | 0x18, WILL | 0x38])
def test_will_flags_that_do_not_fit(broker: Broker, version: int, flags: int) -> None:
    will = Will("w", b"bye") if flags & WILL else None
    client = broker.dial(version)
    client.send_bytes(spoil(connect_packet("c", version, will=will), version, {9: flags | 2}))
    if version == 5:
        refused(client, R.MALFORMED_PACKET)
    else:
        client.closed()


@mqtt("3.1.1:MQTT-3.1.2-9", "5.0:MQTT-3.1.2-9", "3.1.1:MQTT-3.1.2-19", "5.0:MQTT-3.1.2-17")
@mqtt("3.1.1:MQTT-3.1.2-21", "5.0:MQTT-3.1.2-19")
@oasis
@pytest.mark.parametrize("flags", [WILL, USERNAME, USERNAME | PASSWORD])
def test_flags_for_fields_that_are_missing(broker: Broker, version: int, flags: int) -> None:
    client = broker.dial(version)
    client.send_bytes(spoil(connect_packet("c", version), version, {9: flags | 2}))
    assert client.is_closed
    assert len(broker.engine.sessions) == 0


@mqtt("3.1.1:MQTT-3.1.2-11", "3.1.1:MQTT-3.1.2-18", "3.1.1:MQTT-3.1.2-20", "3.1.1:MQTT-3.1.3-1")
@mqtt("5.0:MQTT-3.1.2-16", "5.0:MQTT-3.1.2-18", "5.0:MQTT-3.1.3-1")
@oasis
@pytest.mark.parametrize("missing", [WILL, USERNAME, PASSWORD])
def test_fields_without_their_flag(broker: Broker, version: int, missing: int) -> None:
    packet = connect_packet("c", version, username="u", password=b"p", will=Will("w", b"bye"))
    flags = (WILL | USERNAME | PASSWORD | 2) & ~missing
    client = broker.dial(version)
    client.send_bytes(spoil(packet, version, {9: flags}))
    assert client.is_closed
    assert len(broker.engine.sessions) == 0


@mqtt("3.1.1:MQTT-3.1.2-22")
def test_a_password_needs_a_user_name_in_3_1_1(broker: Broker) -> None:
    client = broker.dial(4)
    client.send_bytes(spoil(connect_packet("c", 4, username="u"), 4, {9: PASSWORD | 2}))
    client.closed()


def test_a_password_alone_is_right_in_5(broker: Broker) -> None:
    broker.connect(password=b"p")


@mqtt("3.1.1:MQTT-3.1.3-1", "5.0:MQTT-3.1.3-1", "3.1.1:MQTT-3.1.2-9", "5.0:MQTT-3.1.2-9")
@mqtt("3.1.1:MQTT-3.1.2-19", "5.0:MQTT-3.1.2-17", "3.1.1:MQTT-3.1.2-21", "5.0:MQTT-3.1.2-19")
@every_version
def test_all_fields_are_read_in_their_order(broker: Broker, version: int) -> None:
    seen = []

    def authenticator(credentials):  # type: ignore[no-untyped-def]
        seen.append(credentials)
        return R.SUCCESS

    broker.engine.access.authenticators = (authenticator,)
    broker.connect("me", version, username="u", password=b"p\xff", will=Will("w", b"bye", 1, True))
    [credentials] = seen
    assert credentials.client.client_id == "me"
    assert credentials.client.username == "u"
    assert credentials.password == b"p\xff"
    session = broker.engine.sessions.get("me")
    assert session is not None
    assert session.will == Will("w", b"bye", 1, True)


# Client identifiers


@mqtt("3.1.1:MQTT-3.1.3-5", "5.0:MQTT-3.1.3-5", "3.1.1:MQTT-3.1.3-2", "5.0:MQTT-3.1.3-2")
@every_version
@pytest.mark.parametrize("client_id", ["a", "0123456789abcdefghijkl", "ABCDEFGHIJKLMNOPQRSTUVW", "z" * 23])
def test_letters_and_digits_are_accepted(broker: Broker, version: int, client_id: str) -> None:
    broker.connect(client_id, version)
    assert client_id in broker.engine.sessions


@oasis
@pytest.mark.parametrize("client_id", ["z" * 24, "x" * 60_000, "é/🚀 +#$", "/", "\ufeff", "'; --"])
def test_other_identifiers_are_accepted_too(broker: Broker, version: int, client_id: str) -> None:
    broker.connect(client_id, version)
    assert client_id in broker.engine.sessions


@pytest.mark.parametrize("client_id", ["", "z" * 24])
def test_3_1_wants_1_to_23_characters(broker: Broker, client_id: str) -> None:
    client = broker.dial(3)
    client.send(connect_packet(client_id, 3))
    refused(client, R.CLIENT_IDENTIFIER_NOT_VALID)


@mqtt("3.1.1:MQTT-3.1.3-3", "5.0:MQTT-3.1.3-3")
@oasis
def test_the_identifier_is_not_optional(broker: Broker, version: int) -> None:
    client = broker.dial(version)
    properties = b"\0" if version == 5 else b""
    body = b"\0\4MQTT" + bytes((version, 2)) + b"\0\0" + properties
    client.send_bytes(bytes((0x10, len(body))) + body)
    assert client.is_closed


@pytest.mark.one_node
@mqtt("3.1.1:MQTT-3.1.3-6", "5.0:MQTT-3.1.3-6", "5.0:MQTT-3.1.3-7", "5.0:MQTT-3.2.2-16")
@oasis
def test_a_client_without_identifier_is_given_one(broker: Broker, version: int) -> None:
    clients = [broker.connect("", version) for _ in range(10)]
    assert len(broker.engine.sessions) == 10
    assert not any(client.is_closed for client in clients)
    assert "" not in broker.engine.sessions
    if version == 5:
        given = {c.connack.properties.assigned_client_identifier for c in clients}  # type: ignore[union-attr]
        assert given == {session.client_id for session in broker.engine.sessions}


def test_an_assigned_identifier_can_be_used_to_come_back(broker: Broker) -> None:
    client = broker.connect("", clean_start=False, session_expiry_interval=100)
    assert client.connack is not None
    assert client.connack.properties is not None
    client_id = client.connack.properties.assigned_client_identifier
    assert client_id
    client.drop()
    back = broker.dial()
    connack = back.connect(client_id, clean_start=False)
    assert connack.session_present
    assert connack.properties is not None
    assert connack.properties.assigned_client_identifier is None


@mqtt("3.1.1:MQTT-3.1.3-7", "3.1.1:MQTT-3.1.3-8", "3.1.1:MQTT-3.1.3-9", "3.1.1:MQTT-3.2.2-4")
@mqtt("3.1.1:MQTT-3.2.2-5")
def test_no_identifier_needs_a_clean_session_in_3_1_1(broker: Broker) -> None:
    client = broker.dial(4)
    client.send(connect_packet("", 4, clean_start=False))
    assert bytes(client.link.written) == b"\x20\x02\x00\x02"
    refused(client, R.CLIENT_IDENTIFIER_NOT_VALID)


# Refusals


@mqtt("5.0:MQTT-3.1.4-2", "5.0:MQTT-3.2.2-6", "5.0:MQTT-3.2.2-7", "5.0:MQTT-4.13.2-1", "5.0:MQTT-3.1.3-8")
@mqtt("3.1.1:MQTT-3.2.2-4", "3.1.1:MQTT-3.2.2-5", "3.1.1:MQTT-3.1.3-9", "5.0:MQTT-3.2.2-8")
@every_version
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (R.BAD_USER_NAME_OR_PASSWORD, 5),  # 4 would say that one of them is malformed
        (R.NOT_AUTHORIZED, 5),
        (R.CLIENT_IDENTIFIER_NOT_VALID, 2),
        (R.SERVER_UNAVAILABLE, 3),
        (R.BANNED, 5),
        (R.SESSION_TAKEN_OVER, 3),  # not a reason for CONNACK: it becomes one that is
    ],
)
def test_refused_by_access_control(broker: Broker, version: int, reason: ReasonCode, code: int) -> None:
    kept = {"session_expiry_interval": 100} if version == 5 else {}
    broker.connect("c", version, clean_start=False, **kept).drop()
    broker.engine.access.authenticators = (lambda credentials: reason,)
    client = broker.dial(version)
    client.send(connect_packet("c", version, clean_start=False))
    if version == 5:
        refused(client, R.UNSPECIFIED_ERROR if reason == R.SESSION_TAKEN_OVER else reason)
    else:
        assert bytes(client.link.written) == bytes((0x20, 2, 0, code))
        assert client.is_closed
    assert "c" in broker.engine.sessions  # and the session of its owner stays


@pytest.mark.one_node
@every_version
def test_an_answer_of_access_control_that_takes_its_time(broker: Broker, version: int) -> None:
    async def authenticator(credentials):  # type: ignore[no-untyped-def]
        return R.SUCCESS

    broker.engine.access.authenticators = (authenticator,)
    client = broker.dial(version)
    client.send(connect_packet("c", version), Pingreq())
    client.nothing()
    assert not client.link.reading
    client.send(Pingreq())  # what was on its way already
    broker.answer()
    assert client.next(Connack).reason == R.SUCCESS
    assert client.packets() == [Pingresp(), Pingresp()]
    assert client.link.reading


@pytest.mark.one_node
@mqtt("5.0:MQTT-3.14.0-1", "3.1.1:MQTT-3.2.0-1")
@every_version
def test_a_client_sent_away_while_access_control_thinks(broker: Broker, version: int) -> None:
    async def authenticator(credentials):  # type: ignore[no-untyped-def]
        return R.SUCCESS

    broker.engine.access.authenticators = (authenticator,)
    client = broker.dial(version)
    client.send(connect_packet("c", version))
    client.channel.close(R.SERVER_SHUTTING_DOWN)
    client.closed()
    broker.answer()
    assert client.packets() == []
    assert "c" not in broker.engine.sessions


@mqtt("5.0:MQTT-3.2.2-12")
def test_a_will_above_the_maximum_qos(broker: Broker) -> None:
    broker = Broker(max_qos=1)
    client = broker.dial()
    client.send(connect_packet(will=Will("w", b"", 2)))
    refused(client, R.QOS_NOT_SUPPORTED)
    broker.connect(will=Will("w", b"", 1))


@mqtt("5.0:MQTT-3.2.2-13")
def test_a_retained_will_where_nothing_is_retained() -> None:
    broker = Broker(retain_available=False)
    client = broker.dial()
    client.send(connect_packet(will=Will("w", b"x", 0, True)))
    refused(client, R.RETAIN_NOT_SUPPORTED)
    broker.connect(will=Will("w", b"x", 0))


@every_version
def test_a_will_may_not_speak_for_the_broker(broker: Broker, version: int) -> None:
    client = broker.dial(version)
    client.send(connect_packet("c", version, will=Will("$SYS/brokers", b"x")))
    refused(client, R.NOT_AUTHORIZED)


@mqtt("5.0:MQTT-3.1.4-1")
@pytest.mark.parametrize(
    "properties",
    [
        pytest.param(b"\x21\x00\x00", id="receive maximum 0"),
        pytest.param(b"\x27\x00\x00\x00\x00", id="maximum packet size 0"),
        pytest.param(b"\x17\x02", id="problem information 2"),
        pytest.param(b"\x19\x02", id="response information 2"),
        pytest.param(b"\x11\0\0\0\1\x11\0\0\0\1", id="session expiry twice"),
        pytest.param(b"\x16\0\1x", id="data without method"),
    ],
)
def test_connect_properties_that_are_protocol_errors(broker: Broker, properties: bytes) -> None:
    client = broker.dial()
    body = b"\0\4MQTT\5\2\0\0" + bytes((len(properties),)) + properties + b"\0\1c"
    client.send_bytes(bytes((0x10, len(body))) + body)
    refused(client, R.PROTOCOL_ERROR)


# What CONNACK says


@mqtt("5.0:MQTT-3.2.2-1", "3.1.1:MQTT-3.1.4-4")
@every_version
def test_the_bytes_of_connack(broker: Broker, version: int) -> None:
    client = broker.dial(version)
    client.send(connect_packet("c", version))
    written = bytes(client.link.written)
    assert written[0] == 0x20
    assert written[2:4] == b"\0\0"
    assert len(written) == 4 or version == 5


@mqtt("5.0:MQTT-3.2.2-9", "5.0:MQTT-3.2.2-10", "5.0:MQTT-3.2.2-11", "5.0:MQTT-3.2.2-14")
def test_what_is_not_available_is_announced_and_held() -> None:
    broker = Broker(
        max_qos=1,
        retain_available=False,
        wildcard_subscription=False,
        shared_subscription=False,
        receive_maximum=7,
        max_packet_size=5000,
        max_topic_alias=3,
    )
    client = broker.connect()
    assert client.connack is not None
    assert client.connack.properties == Properties(
        receive_maximum=7,
        maximum_packet_size=5000,
        topic_alias_maximum=3,
        maximum_qos=1,
        retain_available=0,
        wildcard_subscription_available=0,
        shared_subscription_available=0,
    )
    assert client.subscribe("t", qos=2) == R.GRANTED_QOS_1
    assert client.subscribe("+") == R.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
    assert client.subscribe("$share/g/t") == R.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
    client.send_publish("t", qos=2)
    client.closed(R.QOS_NOT_SUPPORTED)
    client = broker.connect()
    client.send_publish("t", retain=True)
    client.closed(R.RETAIN_NOT_SUPPORTED)


@mqtt("3.1.1:MQTT-3.8.3-2")
def test_wildcards_that_are_not_served_are_refused_in_3_1_1() -> None:
    client = Broker(wildcard_subscription=False).connect(version=4)
    assert client.subscribe("a/#") == R.UNSPECIFIED_ERROR
    assert client.subscribe("a") == R.GRANTED_QOS_0


def test_what_is_available_is_not_mentioned(broker: Broker) -> None:
    client = broker.connect(session_expiry_interval=100)
    assert client.connack is not None
    properties = client.connack.properties
    assert properties is not None
    assert properties.maximum_qos is None
    assert properties.retain_available is None
    assert properties.session_expiry_interval is None
    assert properties.server_keep_alive is None


def test_a_session_expiry_that_is_cut_is_told() -> None:
    client = Broker(max_session_expiry=60).connect(session_expiry_interval=100)
    assert client.connack is not None
    assert client.connack.properties is not None
    assert client.connack.properties.session_expiry_interval == 60


@mqtt("5.0:MQTT-3.1.2-28")
@pytest.mark.parametrize("asked", [None, 0, 1])
def test_response_information_is_not_sent_unasked(broker: Broker, asked: int | None) -> None:
    client = broker.connect(request_response_information=asked)
    assert client.connack is not None
    assert client.connack.properties is not None
    assert client.connack.properties.response_information is None


@mqtt("5.0:MQTT-3.2.2-19", "5.0:MQTT-3.1.2-24")
def test_a_refusal_that_must_be_short_has_no_reason_string(broker: Broker) -> None:
    client = broker.dial()
    client.send(connect_packet("c", authentication_method="X", maximum_packet_size=30))
    connack = client.next(Connack)
    assert connack.reason == R.BAD_AUTHENTICATION_METHOD
    assert connack.properties == Properties() or connack.properties is None

    client = broker.dial()
    client.send(connect_packet("c", authentication_method="X"))
    connack = client.next(Connack)
    assert connack.properties is not None
    assert connack.properties.reason_string


@mqtt("5.0:MQTT-3.1.2-24")
@pytest.mark.parametrize("size", [1, 4, 5, 10])
def test_a_client_that_takes_no_connack(broker: Broker, size: int) -> None:
    client = broker.dial()
    client.send(connect_packet("c", maximum_packet_size=size))
    assert len(client.link.written) <= size
    packets = client.packets()
    assert packets == ([] if size < 5 else [Connack(False, R.PACKET_TOO_LARGE)])
    assert client.is_closed
    assert broker.engine.connected == 0


# Keep alive


@mqtt("3.1.1:MQTT-3.1.2-24", "5.0:MQTT-3.1.2-22", "5.0:MQTT-3.2.2-22")
@every_version
def test_one_and_a_half_keep_alives_of_silence(broker: Broker, version: int) -> None:
    watcher = broker.connect("w")
    watcher.subscribe("will")
    client = broker.connect(version=version, keepalive=10, will=Will("will", b"lost"))
    for _ in range(3):
        broker.clock.advance(14.9)
        client.ping()
    broker.clock.advance(14.9)
    client.nothing()
    broker.clock.advance(0.2)
    client.closed(R.KEEP_ALIVE_TIMEOUT)
    assert watcher.payloads() == [b"lost"]


@mqtt("3.1.1:MQTT-3.1.2-24", "5.0:MQTT-3.1.2-22")
@oasis
def test_half_a_packet_is_no_sign_of_life(broker: Broker, version: int) -> None:
    client = broker.connect(version=version, keepalive=10)
    client.send_bytes(b"\x30\x7f")
    for _ in range(15):
        broker.clock.advance(1)
        client.send_bytes(b"\0")
    assert client.is_closed


@every_version
def test_keep_alive_zero_never_ends(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    broker.clock.advance(1e6)
    client.nothing()


@mqtt("5.0:MQTT-3.1.2-21", "5.0:MQTT-3.2.2-21", "5.0:MQTT-3.2.2-22", "3.1.1:MQTT-3.1.2-24")
@pytest.mark.parametrize(
    ("version", "asked", "given"), [(5, 60, 60), (5, 61, 60), (5, 0, 60), (4, 61, 61), (4, 0, 0), (3, 90, 90)]
)
def test_the_longest_keep_alive(version: int, asked: int, given: int) -> None:
    broker = Broker(limits=Limits(max_keepalive=60))
    client = broker.connect("c", version, keepalive=asked)
    assert client.connack is not None
    if version == 5:
        assert client.connack.properties is not None
        assert client.connack.properties.server_keep_alive == (None if asked == given else given)
    broker.clock.advance(given * 1.5 - 0.1)
    client.nothing()
    broker.clock.advance(0.2)
    assert client.is_closed is (given > 0)


@pytest.mark.one_node
def test_keep_alive_waits_for_access_control(broker: Broker) -> None:
    async def authorizer(client, topic, action):  # type: ignore[no-untyped-def]
        return True

    broker.engine.access.authorizers = (authorizer,)
    client = broker.connect(keepalive=10)
    client.send_publish("t", qos=1)
    broker.clock.advance(100)
    client.nothing()
    broker.answer()
    broker.clock.advance(10)
    assert not client.is_closed


@every_version
def test_a_connect_that_never_comes(version: int) -> None:
    broker = Broker(limits=Limits(connect_timeout=3))
    client = broker.dial(version)
    client.send_bytes(encode(connect_packet("c", version), version)[:-1])
    broker.clock.advance(2.9)
    client.nothing()
    broker.clock.advance(0.2)
    client.closed()
    assert broker.engine.channels == set()


@mqtt("3.1.1:MQTT-4.8.0-1", "5.0:MQTT-4.13.1-1")
@every_version
def test_a_violation_is_not_forgotten_while_access_control_thinks(broker: Broker, version: int) -> None:
    async def authorizer(client, topic, action):  # type: ignore[no-untyped-def]
        return True

    broker.engine.access.authorizers = (authorizer,)
    client = broker.connect(version=version)
    client.send(make_publish("t", b"x", version=version), connect_packet(version=version))
    client.send(Pingreq())  # what was on its way already
    broker.answer()
    client.closed(R.PROTOCOL_ERROR)


@mqtt("3.1.1:MQTT-3.12.4-1", "5.0:MQTT-3.12.4-1")
@every_version
def test_ping(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.send(Pingreq())
    assert bytes(client.link.written) == b"\xd0\x00"


# DISCONNECT


@mqtt("3.1.1:MQTT-3.14.4-1", "5.0:MQTT-3.14.4-2")
@every_version
def test_what_came_before_disconnect_is_answered(broker: Broker, version: int) -> None:
    client = broker.connect(version=version)
    client.send(Pingreq(), Disconnect())
    assert client.packets() == [Pingresp()]
    assert client.is_closed


@mqtt("3.1.1:MQTT-3.14.4-2", "5.0:MQTT-3.14.4-1")
@oasis
def test_what_comes_after_disconnect_is_not(broker: Broker, version: int) -> None:
    watcher = broker.connect("w")
    watcher.subscribe("#")
    client = broker.connect(version=version)
    late = make_publish("t", b"late", version=version)
    client.send(Disconnect(), Pingreq(), late)
    client.send(late)
    client.closed()
    watcher.nothing()


@mqtt("5.0:MQTT-3.14.4-1", "5.0:MQTT-3.14.4-2", "5.0:MQTT-3.14.2-2", "5.0:MQTT-4.13.2-1")
def test_nothing_comes_after_the_brokers_disconnect(broker: Broker) -> None:
    watcher = broker.connect("w")
    watcher.subscribe("late")
    client = broker.connect(session_expiry_interval=100)
    client.subscribe("t", qos=1)
    client.channel.close(R.ADMINISTRATIVE_ACTION)
    broker.connect("p").publish("t", qos=1)
    disconnect = client.closed(R.ADMINISTRATIVE_ACTION)
    assert disconnect is not None
    assert disconnect.properties is None or disconnect.properties.session_expiry_interval is None
    client.send(Pingreq())
    client.send_publish("late")
    assert client.packets() == []
    watcher.nothing()


@mqtt("5.0:MQTT-3.14.2-1")
def test_disconnect_has_a_reason_of_its_own(broker: Broker) -> None:
    client = broker.connect()
    client.channel.close(R.BAD_USER_NAME_OR_PASSWORD)
    client.closed(R.UNSPECIFIED_ERROR)


@mqtt("5.0:MQTT-3.14.2-3", "5.0:MQTT-3.1.2-24")
def test_a_disconnect_that_must_be_short_has_no_reason_string(broker: Broker) -> None:
    client = broker.connect(maximum_packet_size=30)
    client.send(Auth())
    disconnect = client.closed(R.PROTOCOL_ERROR)
    assert disconnect is not None
    assert disconnect.properties is None or disconnect.properties.reason_string is None

    client = broker.connect()
    client.send(Auth())
    disconnect = client.closed(R.PROTOCOL_ERROR)
    assert disconnect is not None
    assert disconnect.properties is not None
    assert disconnect.properties.reason_string


@mqtt("3.1.1:MQTT-4.8.0-1", "5.0:MQTT-4.13.1-1")
@every_version
def test_packets_only_a_server_sends(broker: Broker, version: int) -> None:
    for packet in (Connack(False), Pingresp(), Suback(1, [R.GRANTED_QOS_0])):
        client = broker.connect(version=version)
        client.send(packet)
        client.closed(R.PROTOCOL_ERROR)
