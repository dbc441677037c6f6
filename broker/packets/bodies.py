"""The variable header and payload of every packet but PUBLISH, from bytes to model.

Each reader takes the bytes, the start and end of the body, and the protocol level (3, 4 or 5; 0, before
CONNECT, reads like 4). It raises ProtocolError if the body breaks a rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .errors import MalformedPacket, ProtocolError
from .model import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
    Will,
)
from .packet_type import PacketType
from .primitives import read_binary, read_byte, read_string, read_two
from .properties import Properties, decode_properties
from .reasons import ReasonCode, connack_reason
from .topic_cache import topic_name

Reader: TypeAlias = Callable[[bytes, int, int, int], Packet]

# The flags in a fixed header's lower four bits; PUBLISH has its own [MQTT-2.1.3-1].
_FLAGS: dict[int, int] = {PacketType.PUBREL: 2, PacketType.SUBSCRIBE: 2, PacketType.UNSUBSCRIBE: 2}

MAX_FILTERS = 5000
"""The most topic filters of one SUBSCRIBE or UNSUBSCRIBE. A client with more sends several packets."""

_PROTOCOLS = {("MQIsdp", 3), ("MQTT", 4), ("MQTT", 5)}
_NAMES = {name: name for name, _ in _PROTOCOLS}
BRIDGE = 0x80
"""Bridges add this to the level of 3.1 and 3.1.1."""


def read_body(first: int, data: bytes, pos: int, end: int, version: int) -> Packet:
    """The packet with this first byte and the body ``data[pos:end]``; not for CONNECT or PUBLISH."""
    packet_type = first >> 4
    reader = _READERS.get(packet_type)
    if reader is None or (packet_type == PacketType.AUTH and version != 5):
        raise MalformedPacket(f"there is no packet of type {packet_type} in this version of MQTT")
    check_flags(first, version)
    return reader(data, pos, end, version)


def check_flags(first: int, version: int) -> None:
    """[MQTT-2.1.3-1]; MQTT 3.1 gives these flags no meaning, so every value is accepted."""
    if version != 3 and first & 0x0F != _FLAGS.get(first >> 4, 0):
        name = PacketType(first >> 4).name
        raise MalformedPacket(f"the fixed header of {name} has wrong flags: 0x{first:02x}")


# CONNECT and CONNACK


def read_protocol(data: bytes, pos: int, end: int) -> tuple[str, int, bool, int]:
    """The protocol name and level at the start of CONNECT, whether the level is that of a bridge, and the
    position behind them."""
    name, pos = read_string(data, pos, end)
    name = _NAMES.get(name, name)  # one string for all connections
    level, pos = read_byte(data, pos, end)
    if level in (BRIDGE | 3, BRIDGE | 4) and (name, level & ~BRIDGE) in _PROTOCOLS:
        return name, level & ~BRIDGE, True, pos
    if (name, level) not in _PROTOCOLS:
        text = f"there is no protocol {name[:32]!r} with level {level}; MQTT 3.1, 3.1.1 and 5.0 are supported"
        if name not in _NAMES:  # [MQTT-3.1.2-1]
            raise ProtocolError(text)
        raise ProtocolError(text, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)  # [MQTT-3.1.2-2]
    return name, level, False, pos


def read_connect(name: str, version: int, data: bytes, pos: int, end: int) -> Connect:
    """The rest of CONNECT, after the protocol level."""
    flags, pos = read_byte(data, pos, end)
    _check_connect_flags(flags, version)
    keepalive, pos = read_two(data, pos, end)
    properties = None
    if version == 5:
        properties, pos = decode_properties(data, pos, end, PacketType.CONNECT)
    client_id, pos = read_string(data, pos, end)
    will = None
    if flags & 0x04:
        will, pos = _read_will(flags, data, pos, end, version)
    username = password = None
    # In MQTT 3.1 the remaining length counts, not the two flags.
    if flags & 0x80 and not (version == 3 and pos == end):
        username, pos = read_string(data, pos, end)
    if flags & 0x40 and not (version == 3 and pos == end):
        password, pos = read_binary(data, pos, end)
    _check_end(pos, end)
    clean_start = bool(flags & 0x02)
    return Connect(name, version, clean_start, keepalive, client_id, username, password, will, properties)


def _check_connect_flags(flags: int, version: int) -> None:
    if flags & 0x01 and version != 3:  # [MQTT-3.1.2-3]
        raise MalformedPacket("the reserved flag of CONNECT is set")
    if flags & 0x18 == 0x18:  # [MQTT-3.1.2-12]
        raise MalformedPacket("the will has QoS 3")
    if flags & 0x38 and not flags & 0x04 and version != 3:  # [MQTT-3.1.2-11, MQTT-3.1.2-13]
        raise MalformedPacket("CONNECT sets the QoS or the retain flag of a will, but has no will")
    if flags & 0x40 and not flags & 0x80 and version != 5:  # [3.1.1: MQTT-3.1.2-22]
        raise MalformedPacket("CONNECT has a password without a user name")


def _read_will(flags: int, data: bytes, pos: int, end: int, version: int) -> tuple[Will, int]:
    properties = None
    if version == 5:
        properties, pos = decode_properties(data, pos, end, PacketType.WILL)
    topic, pos = read_string(data, pos, end)
    payload, pos = read_binary(data, pos, end)
    return Will(topic_name(topic), payload, flags >> 3 & 3, bool(flags & 0x20), properties), pos


def read_connack(data: bytes, pos: int, end: int, version: int) -> Connack:
    flags, pos = read_byte(data, pos, end)
    code, pos = read_byte(data, pos, end)
    if flags > 1 and version != 3:  # [MQTT-3.2.2-1]
        raise MalformedPacket("reserved flags of CONNACK are set")
    properties = None
    if version == 5:
        reason = _reason(code, PacketType.CONNACK)
        properties, pos = decode_properties(data, pos, end, PacketType.CONNACK)
    else:
        known = connack_reason(code)
        if known is None:
            raise MalformedPacket(f"CONNACK has the reserved return code {code}")
        reason = known
    _check_end(pos, end)
    session_present = bool(flags & 1) and version != 3
    if session_present and reason:  # [MQTT-3.2.2-6]
        raise ProtocolError("CONNACK refuses the client, yet says that its session is present")
    return Connack(session_present, reason, properties)


# Acknowledgements of PUBLISH


def _acknowledgement(packet: type[Puback | Pubrec | Pubrel | Pubcomp], packet_type: PacketType) -> Reader:
    def read(data: bytes, pos: int, end: int, version: int) -> Packet:
        packet_id, pos = _read_packet_id(data, pos, end)
        reason, properties = ReasonCode.SUCCESS, None
        if version == 5 and pos < end:
            reason, properties, pos = _read_reason_and_properties(data, pos, end, packet_type)
        _check_end(pos, end)
        return packet(packet_id, reason, properties)

    return read


# SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK


def read_subscribe(data: bytes, pos: int, end: int, version: int) -> Subscribe:
    packet_id, properties, pos = _read_id_and_properties(data, pos, end, version, PacketType.SUBSCRIBE)
    filters: list[SubscribeFilter] = []
    while pos < end:
        if len(filters) == MAX_FILTERS:
            raise _too_many_filters(PacketType.SUBSCRIBE)
        topic_filter, pos = read_string(data, pos, end)
        options, pos = read_byte(data, pos, end)
        filters.append(_subscribe_filter(topic_filter, options, version))
    if not filters:  # [MQTT-3.8.3-2]
        raise ProtocolError("SUBSCRIBE has no topic filter")
    return Subscribe(packet_id, filters, properties)


def _subscribe_filter(topic_filter: str, options: int, version: int) -> SubscribeFilter:
    qos = options & 3
    if qos == 3:  # [3.1.1: MQTT-3-8.3-4]
        raise MalformedPacket(f"the subscription to {topic_filter!r} asks for QoS 3")
    if version == 3:
        return SubscribeFilter(topic_filter, qos)
    if options & (0xC0 if version == 5 else 0xFC):  # [MQTT-3.8.3-5]
        raise MalformedPacket(f"the subscription to {topic_filter!r} sets reserved options")
    no_local = bool(options & 0x04)
    retain_handling = options >> 4
    if retain_handling == 3:
        raise ProtocolError(f"the subscription to {topic_filter!r} asks for retain handling 3")
    if no_local and topic_filter.startswith("$share/"):  # [MQTT-3.8.3-4]
        raise ProtocolError(f"the shared subscription {topic_filter!r} asks for no local")
    return SubscribeFilter(topic_filter, qos, no_local, bool(options & 0x08), retain_handling)


def read_suback(data: bytes, pos: int, end: int, version: int) -> Suback:
    packet_id, properties, pos = _read_id_and_properties(data, pos, end, version, PacketType.SUBACK)
    reasons = [_reason(code, PacketType.SUBACK) for code in data[pos:end]]
    if version != 5 and any(reason > ReasonCode.UNSPECIFIED_ERROR for reason in reasons):
        raise MalformedPacket("SUBACK has a reserved return code")  # [3.1.1: MQTT-3.9.3-2]
    if not reasons:
        raise ProtocolError("SUBACK has no return code")
    return Suback(packet_id, reasons, properties)


def read_unsubscribe(data: bytes, pos: int, end: int, version: int) -> Unsubscribe:
    packet_id, properties, pos = _read_id_and_properties(data, pos, end, version, PacketType.UNSUBSCRIBE)
    topic_filters: list[str] = []
    while pos < end:
        if len(topic_filters) == MAX_FILTERS:
            raise _too_many_filters(PacketType.UNSUBSCRIBE)
        topic_filter, pos = read_string(data, pos, end)
        topic_filters.append(topic_filter)
    if not topic_filters:  # [MQTT-3.10.3-2]
        raise ProtocolError("UNSUBSCRIBE has no topic filter")
    return Unsubscribe(packet_id, topic_filters, properties)


def _too_many_filters(packet_type: PacketType) -> ProtocolError:
    text = f"{packet_type.name} has more than {MAX_FILTERS:,} topic filters; send several packets"
    return ProtocolError(text, ReasonCode.QUOTA_EXCEEDED, "filters_per_packet")


def read_unsuback(data: bytes, pos: int, end: int, version: int) -> Unsuback:
    packet_id, properties, pos = _read_id_and_properties(data, pos, end, version, PacketType.UNSUBACK)
    if version != 5:
        _check_end(pos, end)
        return Unsuback(packet_id, [])
    reasons = [_reason(code, PacketType.UNSUBACK) for code in data[pos:end]]
    if not reasons:
        raise ProtocolError("UNSUBACK has no reason code")
    return Unsuback(packet_id, reasons, properties)


# PINGREQ, PINGRESP, DISCONNECT, AUTH


def read_pingreq(data: bytes, pos: int, end: int, version: int) -> Pingreq:
    _check_end(pos, end)
    return Pingreq()


def read_pingresp(data: bytes, pos: int, end: int, version: int) -> Pingresp:
    _check_end(pos, end)
    return Pingresp()


def read_disconnect(data: bytes, pos: int, end: int, version: int) -> Disconnect:
    reason, properties = ReasonCode.NORMAL_DISCONNECTION, None
    if version == 5 and pos < end:
        reason, properties, pos = _read_reason_and_properties(data, pos, end, PacketType.DISCONNECT)
    _check_end(pos, end)
    return Disconnect(reason, properties)


def read_auth(data: bytes, pos: int, end: int, version: int) -> Auth:
    if pos == end:
        return Auth()
    reason, properties, pos = _read_reason_and_properties(data, pos, end, PacketType.AUTH)
    _check_end(pos, end)
    if properties is None or properties.authentication_method is None:
        raise ProtocolError("AUTH does not name its authentication method")
    return Auth(reason, properties)


_READERS: dict[int, Reader] = {
    PacketType.CONNACK: read_connack,
    PacketType.PUBACK: _acknowledgement(Puback, PacketType.PUBACK),
    PacketType.PUBREC: _acknowledgement(Pubrec, PacketType.PUBREC),
    PacketType.PUBREL: _acknowledgement(Pubrel, PacketType.PUBREL),
    PacketType.PUBCOMP: _acknowledgement(Pubcomp, PacketType.PUBCOMP),
    PacketType.SUBSCRIBE: read_subscribe,
    PacketType.SUBACK: read_suback,
    PacketType.UNSUBSCRIBE: read_unsubscribe,
    PacketType.UNSUBACK: read_unsuback,
    PacketType.PINGREQ: read_pingreq,
    PacketType.PINGRESP: read_pingresp,
    PacketType.DISCONNECT: read_disconnect,
    PacketType.AUTH: read_auth,
}


# Shared by several of them


def _read_packet_id(data: bytes, pos: int, end: int) -> tuple[int, int]:
    packet_id, pos = read_two(data, pos, end)
    if not packet_id:  # [MQTT-2.2.1-3]
        raise ProtocolError("the packet identifier is 0")
    return packet_id, pos


def _read_id_and_properties(
    data: bytes, pos: int, end: int, version: int, packet_type: PacketType
) -> tuple[int, Properties | None, int]:
    packet_id, pos = _read_packet_id(data, pos, end)
    properties = None
    if version == 5:
        properties, pos = decode_properties(data, pos, end, packet_type)
    return packet_id, properties, pos


def _read_reason_and_properties(
    data: bytes, pos: int, end: int, packet_type: PacketType
) -> tuple[ReasonCode, Properties | None, int]:
    """The properties, their length included, may be left out."""
    code, pos = read_byte(data, pos, end)
    properties = None
    if pos < end:
        properties, pos = decode_properties(data, pos, end, packet_type)
    return _reason(code, packet_type), properties, pos


def allowed_reason(reason: ReasonCode, packet_type: PacketType) -> ReasonCode:
    """``reason`` if a packet of this type may have it, otherwise the unspecified error."""
    return _REASONS[packet_type].get(reason, ReasonCode.UNSPECIFIED_ERROR)


def _reason(code: int, packet_type: PacketType) -> ReasonCode:
    reason = _REASONS[packet_type].get(code)
    if reason is None:
        raise ProtocolError(f"{packet_type.name} must not have the reason code 0x{code:02x}")
    return reason


def _check_end(pos: int, end: int) -> None:
    if pos != end:
        raise MalformedPacket(f"{end - pos} bytes follow the end of the packet")


def _reasons(codes: str) -> dict[int, ReasonCode]:
    return {code: ReasonCode(code) for code in bytes.fromhex(codes)}


_PUBLISH_REASONS = _reasons("00 10 80 83 87 90 91 97 99")

# MQTT 5.0, table 2-6: the packets that may carry a reason code.
_REASONS: dict[PacketType, dict[int, ReasonCode]] = {
    PacketType.CONNACK: _reasons(
        "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f"
    ),  # [MQTT-3.2.2-8]
    PacketType.PUBACK: _PUBLISH_REASONS,  # [MQTT-3.4.2-1]
    PacketType.PUBREC: _PUBLISH_REASONS,  # [MQTT-3.5.2-1]
    PacketType.PUBREL: _reasons("00 92"),  # [MQTT-3.6.2-1]
    PacketType.PUBCOMP: _reasons("00 92"),  # [MQTT-3.7.2-1]
    PacketType.SUBACK: _reasons("00 01 02 80 83 87 8f 91 97 9e a1 a2"),  # [MQTT-3.9.3-2]
    PacketType.UNSUBACK: _reasons("00 11 80 83 87 8f 91"),  # [MQTT-3.11.3-2]
    PacketType.DISCONNECT: _reasons(
        "00 04 80 81 82 83 87 89 8b 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2"
    ),  # [MQTT-3.14.2-1]
    PacketType.AUTH: _reasons("00 18 19"),  # [MQTT-3.15.2-1]
}
