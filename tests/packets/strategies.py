"""Hypothesis strategies for packets, for whoever tests with more than examples.

``packets(version)`` draws whatever that version can say: encoded and decoded again it is the same.
"""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from pybroker.broker.packets.encoder import make_publish
from pybroker.broker.packets.model import (
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
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
    Will,
)
from pybroker.broker.packets.packet_type import PacketType
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode

from .cases import CARRIED, GOOD

VERSIONS = (3, 4, 5)

versions = st.sampled_from(VERSIONS)
packet_ids = st.integers(1, 65_535)
qos_levels = st.integers(0, 2)
payloads = st.binary(max_size=300)
strings = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=20)

_VALUES: dict[str, st.SearchStrategy[object]] = {
    "payload_format_indicator": st.integers(0, 1),
    "message_expiry_interval": st.integers(0, 0xFFFF_FFFF),
    "content_type": strings,
    "response_topic": topics,
    "correlation_data": payloads,
    "session_expiry_interval": st.integers(0, 0xFFFF_FFFF),
    "assigned_client_identifier": strings,
    "server_keep_alive": st.integers(0, 65_535),
    "request_problem_information": st.integers(0, 1),
    "will_delay_interval": st.integers(0, 0xFFFF_FFFF),
    "request_response_information": st.integers(0, 1),
    "response_information": strings,
    "server_reference": strings,
    "reason_string": strings,
    "receive_maximum": st.integers(1, 65_535),
    "topic_alias_maximum": st.integers(0, 65_535),
    "topic_alias": st.integers(1, 65_535),
    "maximum_qos": st.integers(0, 1),
    "retain_available": st.integers(0, 1),
    "user_properties": st.lists(st.tuples(strings, strings), min_size=1, max_size=3).map(tuple),
    "maximum_packet_size": st.integers(1, 0xFFFF_FFFF),
    "wildcard_subscription_available": st.integers(0, 1),
    "subscription_identifier_available": st.integers(0, 1),
    "shared_subscription_available": st.integers(0, 1),
    "authentication_method": strings,
}


@cache
def properties(packet_type: PacketType) -> st.SearchStrategy[Properties | None]:
    """The properties that ``packet_type`` may carry, each there or not; None where there are none."""
    values = {field: strategy for field, strategy in _VALUES.items() if _may_carry(packet_type, field)}
    if packet_type is PacketType.SUBSCRIBE:
        values["subscription_identifiers"] = st.tuples(st.integers(1, 268_435_455))
    elif packet_type is PacketType.PUBLISH:
        ids = st.lists(st.integers(1, 268_435_455), min_size=1, max_size=3)
        values["subscription_identifiers"] = ids.map(tuple)
    chosen = st.fixed_dictionaries({}, optional=values)
    return chosen.map(lambda fields: Properties(**fields) if fields else None)


def _may_carry(packet_type: PacketType, field: str) -> bool:
    absent = getattr(Properties(), field)
    return any(
        packet_type.name in carried.packets.split()
        for carried in CARRIED
        if getattr(carried.properties, field) != absent
    )


def _properties(version: int, packet_type: PacketType) -> st.SearchStrategy[Properties | None]:
    return properties(packet_type) if version == 5 else st.none()


def publishes(version: int) -> st.SearchStrategy[Publish]:
    def build(topic, payload, qos, retain, dup, packet_id, properties):
        return make_publish(
            topic,
            payload,
            qos=qos,
            retain=retain,
            dup=dup and qos > 0,
            packet_id=packet_id if qos else 0,
            properties=properties,
            version=version,
        )

    extra = _properties(version, PacketType.PUBLISH)
    return st.builds(build, topics, payloads, qos_levels, st.booleans(), st.booleans(), packet_ids, extra)


def wills(version: int) -> st.SearchStrategy[Will]:
    return st.builds(Will, topics, payloads, qos_levels, st.booleans(), _properties(version, PacketType.WILL))


def connects(version: int) -> st.SearchStrategy[Connect]:
    login = st.tuples(st.none() | strings, st.none() | payloads)
    if version != 5:  # a password needs a user name
        login = login.map(lambda both: both if both[0] is not None else (None, None))
    return st.builds(
        lambda clean, keepalive, client_id, login, will, properties: Connect(
            "MQIsdp" if version == 3 else "MQTT",
            version,
            clean,
            keepalive,
            client_id,
            *login,
            will,
            properties,
        ),
        st.booleans(),
        st.integers(0, 65_535),
        strings,
        login,
        st.none() | wills(version),
        _properties(version, PacketType.CONNECT),
    )


def connacks(version: int) -> st.SearchStrategy[Connack]:
    present = st.booleans() if version != 3 else st.just(False)
    accepted = st.builds(Connack, present, properties=_properties(version, PacketType.CONNACK))
    refused = st.builds(
        Connack,
        st.just(False),
        _reasons(Connack, version),
        _properties(version, PacketType.CONNACK),
    )
    return accepted | refused


@cache
def _reasons(packet: type, version: int) -> st.SearchStrategy[ReasonCode]:
    """The reasons that the table of cases has for this packet in this version."""
    reasons = {ReasonCode.SUCCESS}
    for case in GOOD:
        if isinstance(case.expected, packet) and case.version == version:
            reasons.update(getattr(case.expected, "reasons", None) or [getattr(case.expected, "reason", 0)])
    return st.sampled_from(sorted(reasons))


def acknowledgements(version: int) -> st.SearchStrategy[Puback | Pubrec | Pubrel | Pubcomp]:
    return st.one_of(
        st.builds(packet, packet_ids, _reasons(packet, version), _properties(version, packet_type))
        for packet, packet_type in (
            (Puback, PacketType.PUBACK),
            (Pubrec, PacketType.PUBREC),
            (Pubrel, PacketType.PUBREL),
            (Pubcomp, PacketType.PUBCOMP),
        )
    )


def subscribe_filters(version: int) -> st.SearchStrategy[SubscribeFilter]:
    if version != 5:
        return st.builds(SubscribeFilter, strings, qos_levels)
    filters = st.builds(SubscribeFilter, strings, qos_levels, st.booleans(), st.booleans(), st.integers(0, 2))
    return filters.filter(lambda f: not (f.no_local and f.topic_filter.startswith("$share/")))


def subscribes(version: int) -> st.SearchStrategy[Subscribe]:
    filters = st.lists(subscribe_filters(version), min_size=1, max_size=5)
    return st.builds(Subscribe, packet_ids, filters, _properties(version, PacketType.SUBSCRIBE))


def subacks(version: int) -> st.SearchStrategy[Suback]:
    reasons = st.lists(_reasons(Suback, version), min_size=1, max_size=5)
    return st.builds(Suback, packet_ids, reasons, _properties(version, PacketType.SUBACK))


def unsubscribes(version: int) -> st.SearchStrategy[Unsubscribe]:
    filters = st.lists(strings, min_size=1, max_size=5)
    return st.builds(Unsubscribe, packet_ids, filters, _properties(version, PacketType.UNSUBSCRIBE))


def unsubacks(version: int) -> st.SearchStrategy[Unsuback]:
    if version != 5:
        return st.builds(Unsuback, packet_ids, st.just([]))
    reasons = st.lists(_reasons(Unsuback, version), min_size=1, max_size=5)
    return st.builds(Unsuback, packet_ids, reasons, properties(PacketType.UNSUBACK))


def disconnects(version: int) -> st.SearchStrategy[Disconnect]:
    return st.builds(Disconnect, _reasons(Disconnect, version), _properties(version, PacketType.DISCONNECT))


def auths() -> st.SearchStrategy[Auth]:
    """Only in 5.0."""

    def build(reason: ReasonCode, method: str, data: bytes | None, extra: Properties | None) -> Auth:
        extra = extra or Properties()
        extra.authentication_method = method
        extra.authentication_data = data
        return Auth(reason, extra)

    return st.just(Auth()) | st.builds(
        build, _reasons(Auth, 5), strings, st.none() | payloads, properties(PacketType.AUTH)
    )


@cache
def packets(version: int) -> st.SearchStrategy[Packet]:
    """Any packet of that version but CONNECT, which may only come first: see ``connects``."""
    return st.one_of(
        publishes(version),
        acknowledgements(version),
        connacks(version),
        subscribes(version),
        subacks(version),
        unsubscribes(version),
        unsubacks(version),
        disconnects(version),
        st.just(Pingreq()),
        st.just(Pingresp()),
        *([auths()] if version == 5 else []),
    )
