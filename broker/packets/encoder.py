"""Encodes packets into bytes, for protocol level 3, 4 or 5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .bodies import BRIDGE
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
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from .packet_type import PacketType
from .primitives import write_binary, write_string, write_two, write_variable
from .properties import Properties, encode_properties
from .reasons import ReasonCode, connack_return_code

Writer: TypeAlias = Callable[[Any, int], bytes]


def encode(packet: Packet, version: int) -> bytes:
    """``packet`` as bytes. Below 5.0, reasons and properties are left out, because the packets have no room
    for them.

    CONNECT is encoded for its own version. Raises ValueError for a value that does not fit, such as a string
    above 65,535 bytes, and for AUTH below 5.0.
    """
    return _WRITERS[type(packet)](packet, version)


class _Ready(dict[int, bytes]):
    """Acknowledgements without a reason, made on first use. The bytes are the same in every version."""

    def __init__(self, first: int) -> None:
        self._start = bytes((first, 2))

    def __missing__(self, packet_id: int) -> bytes:
        wire = self[packet_id] = self._start + packet_id.to_bytes(2)
        return wire


# Packet identifier -> the bytes of the acknowledgement with reason 0.
puback: Callable[[int], bytes] = _Ready(0x40).__getitem__
pubrec: Callable[[int], bytes] = _Ready(0x50).__getitem__
pubrel: Callable[[int], bytes] = _Ready(0x62).__getitem__
pubcomp: Callable[[int], bytes] = _Ready(0x70).__getitem__

PINGREQ = b"\xc0\x00"
PINGRESP = b"\xd0\x00"


# PUBLISH


def make_publish(
    topic: str,
    payload: bytes,
    *,
    qos: int = 0,
    retain: bool = False,
    properties: Properties | None = None,
    version: int | None = None,
    packet_id: int = 0,
    dup: bool = False,
) -> Publish:
    """A PUBLISH that was not received as bytes: a will, or a message of the broker itself.

    ``version`` is the layout of ``wire``; by default that of 5.0 if there are properties, and that of 3.1.1
    otherwise. The topic is not checked for wildcards. Raises ValueError for a value that does not fit.
    """
    if version is None:
        version = 4 if properties is None else 5
    elif version != 5 and properties is not None:
        raise ValueError(f"a PUBLISH of protocol level {version} has no room for properties")
    head = write_string(topic)
    if qos:
        head += write_two(packet_id)
    if version == 5:
        head += encode_properties(properties, PacketType.PUBLISH)
    start = bytes((0x30 | dup << 3 | qos << 1 | retain,)) + write_variable(len(head) + len(payload))
    wire = b"".join((start, head, payload))
    return Publish(topic, qos, retain, dup, packet_id, properties, version, wire, len(wire) - len(payload))


def publish_shape(
    publish: Publish,
    version: int,
    qos: int,
    retain: bool,
    subscription_identifiers: Sequence[int] = (),
    expiry: int | None = None,
) -> tuple[bytes, bytes]:
    """``publish`` as all receivers of one kind get it, without the packet identifier: head and tail.

    At QoS 0 the head is the whole packet and the tail is empty. Above, the packet is head + packet identifier
    (two bytes, big-endian) + tail. DUP is not set.

    For 5.0 the packet has the properties of the message. ``subscription_identifiers`` replace the
    publisher's, and ``expiry``, if given, replaces the message expiry interval. A topic alias is never
    forwarded.
    """
    wire, at = publish.wire, publish.payload_at
    properties = publish.properties
    five = version == 5
    added = five and (subscription_identifiers or expiry is not None)
    if (
        qos == publish.qos
        and retain == publish.retain
        and five == (publish.version == 5)
        and not added
        and (properties is None or (not qos and not _rewritten(properties)))
    ):
        return same_shape(publish) if qos else (wire, b"")

    section = b""
    if five:
        if added or properties is not None:
            properties = forwarded(properties or Properties(), subscription_identifiers, expiry)
        section = encode_properties(properties, PacketType.PUBLISH)
    payload = wire[at:]
    topic = write_string(publish.topic)
    first = bytes((0x30 | qos << 1 | retain,))
    if not qos:
        length = write_variable(len(topic) + len(section) + len(payload))
        return b"".join((first, length, topic, section, payload)), b""
    length = write_variable(len(topic) + 2 + len(section) + len(payload))
    return first + length + topic, section + payload


def same_shape(publish: Publish) -> tuple[bytes, bytes]:
    """Like :func:`publish_shape`, for a message above QoS 0 without properties, of which only the packet
    identifier and DUP change. It reuses the received bytes."""
    wire = publish.wire
    # In 5.0 the property length 0 lies between the packet identifier and the payload.
    id_at = publish.payload_at - (3 if publish.version == 5 else 2)
    head = wire[:id_at]
    if publish.dup:
        head = bytes((head[0] & ~0x08,)) + head[1:]
    return head, wire[id_at + 2 :]


def _rewritten(properties: Properties) -> bool:
    """Whether these properties may not be forwarded unchanged."""
    return properties.topic_alias is not None or bool(properties.subscription_identifiers)


def forwarded(
    properties: Properties, subscription_identifiers: Sequence[int] = (), expiry: int | None = None
) -> Properties:
    """The properties of a publisher that its receivers get."""
    if expiry is None:
        expiry = properties.message_expiry_interval
    return Properties(
        payload_format_indicator=properties.payload_format_indicator,  # [MQTT-3.3.2-4]
        message_expiry_interval=expiry,  # [MQTT-3.3.2-6]
        content_type=properties.content_type,  # [MQTT-3.3.2-20]
        response_topic=properties.response_topic,  # [MQTT-3.3.2-15]
        correlation_data=properties.correlation_data,  # [MQTT-3.3.2-16]
        user_properties=properties.user_properties,  # [MQTT-3.3.2-17], [MQTT-3.3.2-18]
        subscription_identifiers=tuple(subscription_identifiers),  # [MQTT-3.3.4-3]
    )


def _publish(packet: Publish, version: int) -> bytes:
    """In full, with the topic alias and the packet identifier."""
    return make_publish(
        packet.topic,
        packet.payload,
        qos=packet.qos,
        retain=packet.retain,
        properties=packet.properties if version == 5 else None,
        version=version,
        packet_id=packet.packet_id,
        dup=packet.dup,
    ).wire


# All others


def _frame(first: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes((first,)) + write_variable(len(body)) + body


def _properties(properties: Properties | None, packet_type: PacketType, version: int) -> bytes:
    return encode_properties(properties, packet_type) if version == 5 else b""


def _connect(packet: Connect, version: int) -> bytes:
    version, will = packet.version, packet.will
    flags = packet.clean_start << 1
    payload = [write_string(packet.client_id)]
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        payload.append(_properties(will.properties, PacketType.WILL, version))
        payload.append(write_string(will.topic))
        payload.append(write_binary(will.payload))
    if packet.username is not None:
        flags |= 0x80
        payload.append(write_string(packet.username))
    if packet.password is not None:
        flags |= 0x40
        payload.append(write_binary(packet.password))
    return _frame(
        0x10,
        write_string(packet.protocol_name),
        bytes((version | (BRIDGE if packet.bridge else 0), flags)),
        write_two(packet.keepalive),
        _properties(packet.properties, PacketType.CONNECT, version),
        *payload,
    )


def _connack(packet: Connack, version: int) -> bytes:
    # A refusal says that no session is present [MQTT-3.2.2-6]. 3.1 has no such flag.
    present = packet.session_present and not packet.reason and version != 3
    if version != 5:
        return bytes((0x20, 2, present, connack_return_code(packet.reason)))
    return _frame(
        0x20, bytes((present, packet.reason)), encode_properties(packet.properties, PacketType.CONNACK)
    )


def _acknowledgement(first: int) -> Writer:
    packet_type = PacketType(first >> 4)

    def write(packet: Any, version: int) -> bytes:
        return _frame(
            first,
            write_two(packet.packet_id),
            _reason_and_properties(packet.reason, packet.properties, packet_type, version),
        )

    return write


def _subscribe(packet: Subscribe, version: int) -> bytes:
    body = [write_two(packet.packet_id), _properties(packet.properties, PacketType.SUBSCRIBE, version)]
    for f in packet.filters:
        options = f.qos
        if version == 5:
            options |= f.no_local << 2 | f.retain_as_published << 3 | f.retain_handling << 4
        body += (write_string(f.topic_filter), bytes((options,)))
    return _frame(0x82, *body)


def _suback(packet: Suback, version: int) -> bytes:
    reasons = packet.reasons
    if version != 5:  # 3.1.1 has only one refusal [3.1.1: MQTT-3.9.3-2]
        reasons = [min(reason, ReasonCode.UNSPECIFIED_ERROR) for reason in reasons]
    return _frame(
        0x90,
        write_two(packet.packet_id),
        _properties(packet.properties, PacketType.SUBACK, version),
        bytes(reasons),
    )


def _unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    return _frame(
        0xA2,
        write_two(packet.packet_id),
        _properties(packet.properties, PacketType.UNSUBSCRIBE, version),
        *map(write_string, packet.topic_filters),
    )


def _unsuback(packet: Unsuback, version: int) -> bytes:
    return _frame(
        0xB0,
        write_two(packet.packet_id),
        _properties(packet.properties, PacketType.UNSUBACK, version),
        bytes(packet.reasons) if version == 5 else b"",
    )


def _pingreq(packet: Pingreq, version: int) -> bytes:
    return PINGREQ


def _pingresp(packet: Pingresp, version: int) -> bytes:
    return PINGRESP


def _disconnect(packet: Disconnect, version: int) -> bytes:
    body = _reason_and_properties(packet.reason, packet.properties, PacketType.DISCONNECT, version)
    return _frame(0xE0, body)


def _auth(packet: Auth, version: int) -> bytes:
    if version != 5:
        raise ValueError("there is no AUTH below MQTT 5.0")
    if not packet.reason and packet.properties is None:
        return _frame(0xF0)
    return _frame(0xF0, bytes((packet.reason,)), encode_properties(packet.properties, PacketType.AUTH))


def _reason_and_properties(
    reason: ReasonCode, properties: Properties | None, packet_type: PacketType, version: int
) -> bytes:
    """Reason and properties are left out if they say nothing."""
    if version != 5 or (not reason and properties is None):
        return b""
    section = encode_properties(properties, packet_type) if properties is not None else b""
    return bytes((reason,)) + section


_WRITERS: dict[type, Writer] = {
    Connect: _connect,
    Connack: _connack,
    Publish: _publish,
    Puback: _acknowledgement(0x40),
    Pubrec: _acknowledgement(0x50),
    Pubrel: _acknowledgement(0x62),
    Pubcomp: _acknowledgement(0x70),
    Subscribe: _subscribe,
    Suback: _suback,
    Unsubscribe: _unsubscribe,
    Unsuback: _unsuback,
    Pingreq: _pingreq,
    Pingresp: _pingresp,
    Disconnect: _disconnect,
    Auth: _auth,
}
