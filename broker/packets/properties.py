"""The properties of MQTT 5.0 (section 2.2.2): a field for each, and a table of the packets that may have
it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .errors import MalformedPacket, ProtocolError
from .packet_type import PacketType
from .primitives import (
    MAX_VARIABLE_BYTE_INTEGER,
    read_binary,
    read_byte,
    read_four,
    read_pair,
    read_string,
    read_two,
    read_variable,
    write_binary,
    write_byte,
    write_four,
    write_pair,
    write_string,
    write_two,
    write_variable,
)
from .reasons import ReasonCode

MAX_REPEATED = 1000
"""The most user properties, or subscription identifiers, of one packet. Each takes time, and again for each
receiver."""


@dataclass(slots=True)
class Properties:
    """The properties of a packet; None or () if the packet does not have one."""

    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    """Seconds."""
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_identifiers: tuple[int, ...] = ()
    session_expiry_interval: int | None = None
    """Seconds; 0xFFFFFFFF means never to expire."""
    assigned_client_identifier: str | None = None
    server_keep_alive: int | None = None
    """Seconds."""
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_interval: int | None = None
    """Seconds."""
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None
    wildcard_subscription_available: int | None = None
    subscription_identifier_available: int | None = None
    shared_subscription_available: int | None = None


class WireType(NamedTuple):
    read: Callable[[bytes, int, int], tuple[Any, int]]
    write: Callable[[Any], bytes]


BYTE = WireType(read_byte, write_byte)
TWO = WireType(read_two, write_two)
FOUR = WireType(read_four, write_four)
VARIABLE = WireType(read_variable, write_variable)
STRING = WireType(read_string, write_string)
BINARY = WireType(read_binary, write_binary)
PAIR = WireType(read_pair, write_pair)


class Property(NamedTuple):
    """One row of the specification's table 2-4."""

    identifier: int
    field: str
    wire: WireType
    packets: tuple[PacketType, ...]
    values: range | None = None
    """None: every value of the wire type."""


FLAG = range(2)

_T = PacketType
_ALL = tuple(p for p in _T if p not in (_T.PINGREQ, _T.PINGRESP))
_ANSWERS = (
    *(_T.CONNACK, _T.PUBACK, _T.PUBREC, _T.PUBREL, _T.PUBCOMP),
    *(_T.SUBACK, _T.UNSUBACK, _T.DISCONNECT, _T.AUTH),
)
_MESSAGE = (_T.PUBLISH, _T.WILL)
_AUTHENTICATION = (_T.CONNECT, _T.CONNACK, _T.AUTH)

PROPERTIES = (
    Property(0x01, "payload_format_indicator", BYTE, _MESSAGE, FLAG),
    Property(0x02, "message_expiry_interval", FOUR, _MESSAGE),
    Property(0x03, "content_type", STRING, _MESSAGE),
    Property(0x08, "response_topic", STRING, _MESSAGE),
    Property(0x09, "correlation_data", BINARY, _MESSAGE),
    Property(
        0x0B,
        "subscription_identifiers",
        VARIABLE,
        (_T.PUBLISH, _T.SUBSCRIBE),
        range(1, MAX_VARIABLE_BYTE_INTEGER + 1),
    ),
    Property(0x11, "session_expiry_interval", FOUR, (_T.CONNECT, _T.CONNACK, _T.DISCONNECT)),
    Property(0x12, "assigned_client_identifier", STRING, (_T.CONNACK,)),
    Property(0x13, "server_keep_alive", TWO, (_T.CONNACK,)),
    Property(0x15, "authentication_method", STRING, _AUTHENTICATION),
    Property(0x16, "authentication_data", BINARY, _AUTHENTICATION),
    Property(0x17, "request_problem_information", BYTE, (_T.CONNECT,), FLAG),
    Property(0x18, "will_delay_interval", FOUR, (_T.WILL,)),
    Property(0x19, "request_response_information", BYTE, (_T.CONNECT,), FLAG),
    Property(0x1A, "response_information", STRING, (_T.CONNACK,)),
    Property(0x1C, "server_reference", STRING, (_T.CONNACK, _T.DISCONNECT)),
    Property(0x1F, "reason_string", STRING, _ANSWERS),
    Property(0x21, "receive_maximum", TWO, (_T.CONNECT, _T.CONNACK), range(1, 1 << 16)),
    Property(0x22, "topic_alias_maximum", TWO, (_T.CONNECT, _T.CONNACK)),
    # 0 is not allowed either [MQTT-3.3.2-8]; 0 and too high an alias have their own reason code.
    Property(0x23, "topic_alias", TWO, (_T.PUBLISH,)),
    Property(0x24, "maximum_qos", BYTE, (_T.CONNACK,), FLAG),
    Property(0x25, "retain_available", BYTE, (_T.CONNACK,), FLAG),
    Property(0x26, "user_properties", PAIR, _ALL),
    Property(0x27, "maximum_packet_size", FOUR, (_T.CONNECT, _T.CONNACK), range(1, 1 << 32)),
    Property(0x28, "wildcard_subscription_available", BYTE, (_T.CONNACK,), FLAG),
    Property(0x29, "subscription_identifier_available", BYTE, (_T.CONNACK,), FLAG),
    Property(0x2A, "shared_subscription_available", BYTE, (_T.CONNACK,), FLAG),
)

_KNOWN = {p.identifier: p for p in PROPERTIES}
_ALLOWED = {t: {p.identifier: p for p in PROPERTIES if t in p.packets} for t in _T}
_REPEATED = ("subscription_identifiers", "user_properties")


def decode_properties(
    data: bytes, pos: int, end: int, packet_type: PacketType
) -> tuple[Properties | None, int]:
    """The properties at ``pos``, and the position behind them; None if there are none. Raises MalformedPacket
    or ProtocolError, as section 2.2.2 and the section of each property require."""
    length, pos = read_variable(data, pos, end)
    if not length:
        return None, pos
    stop = pos + length
    if stop > end:
        raise MalformedPacket(f"properties of {length} bytes do not fit into the packet")
    allowed = _ALLOWED[packet_type]
    properties = Properties()
    subscription_identifiers: list[int] = []
    user_properties: list[tuple[str, str]] = []
    seen = set()
    while pos < stop:
        identifier = data[pos]  # a variable byte integer, but all known ones are below 128
        known = allowed.get(identifier)
        if known is None:
            raise MalformedPacket(_not_allowed(identifier, packet_type))
        _, field, wire, _, values = known
        value, pos = wire.read(data, pos + 1, stop)
        if field == "user_properties":
            user_properties.append(value)
            if len(user_properties) > MAX_REPEATED:
                raise _too_many(field, packet_type)
            continue
        if values is not None and value not in values:
            raise ProtocolError(f"the property {field} must not be {value}")
        if field == "subscription_identifiers" and packet_type is PacketType.PUBLISH:
            subscription_identifiers.append(value)
            if len(subscription_identifiers) > MAX_REPEATED:
                raise _too_many(field, packet_type)
            continue
        if identifier in seen:
            raise ProtocolError(f"the property {field} appears more than once")
        seen.add(identifier)
        setattr(properties, field, (value,) if field == "subscription_identifiers" else value)
    if subscription_identifiers:
        properties.subscription_identifiers = tuple(subscription_identifiers)
    if user_properties:
        properties.user_properties = tuple(user_properties)
    if properties.authentication_data is not None and properties.authentication_method is None:
        raise ProtocolError("there is authentication data without an authentication method")
    topic = properties.response_topic
    if topic is not None and (not topic or "+" in topic or "#" in topic):  # [MQTT-3.3.2-14]
        raise ProtocolError(f"the response topic {topic!r} is empty or has wildcards")
    return properties, pos


def _too_many(field: str, packet_type: PacketType) -> ProtocolError:
    text = f"{packet_type.name} has more than {MAX_REPEATED:,} {field.replace('_', ' ')}"
    return ProtocolError(text, ReasonCode.QUOTA_EXCEEDED, "properties_per_packet")


def _not_allowed(identifier: int, packet_type: PacketType) -> str:
    known = _KNOWN.get(identifier)
    if known is None:
        return f"there is no property 0x{identifier:02x}"
    return f"the property {known.field} does not belong in {packet_type.name}"


def encode_properties(properties: Properties | None, packet_type: PacketType) -> bytes:
    """The property length, and those properties that ``packet_type`` may have; others are left out. So the
    properties of a will can be used for its PUBLISH. Raises ValueError for a value that does not fit its
    type."""
    if properties is None:
        return b"\0"
    out = bytearray()
    for identifier, known in _ALLOWED[packet_type].items():
        value = getattr(properties, known.field)
        if value is None:
            continue
        if known.field in _REPEATED:
            for item in value:
                out.append(identifier)
                out += known.wire.write(item)
        else:
            out.append(identifier)
            out += known.wire.write(value)
    return write_variable(len(out)) + bytes(out)
