"""What a bridge says first: CONNECT and SUBSCRIBE; and what the remote broker's answer means. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..packets.encoder import encode
from ..packets.model import Connack, Connect, Suback, Subscribe, SubscribeFilter
from ..packets.primitives import LARGEST_PACKET
from ..packets.properties import Properties
from ..packets.reasons import ReasonCode, reason_name
from . import path
from .relay import MOST_IN_FLIGHT, RemoteLimits
from .settings import BridgeSettings

AT_ONCE = 100
"""Filters of one SUBSCRIBE or UNSUBSCRIBE."""
NOT_THIS_VERSION = frozenset(
    {ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, ReasonCode.PROTOCOL_ERROR, ReasonCode.MALFORMED_PACKET}
)
"""How brokers refuse a version of MQTT, or the bridge bit, that they do not know."""


class RefusedError(Exception):
    """The remote broker does not let the bridge in; the message says why."""

    def __init__(self, reason: ReasonCode, text: str) -> None:
        super().__init__(text)
        self.other_version = reason in NOT_THIS_VERSION
        """Whether another version of MQTT may be let in."""


def connect(
    settings: BridgeSettings,
    version: int,
    bridge_bit: bool,
    broker_id: str,
    receive_maximum: int,
    max_packet: int,
) -> bytes:
    """CONNECT. The last two are the most that this side takes, in messages and in bytes."""
    properties = None
    if version == 5:
        options = settings.options
        properties = Properties(
            session_expiry_interval=options.session_expiry,
            receive_maximum=min(options.receive_maximum, receive_maximum),
            maximum_packet_size=min(options.maximum_packet_size or max_packet, max_packet),
            request_problem_information=options.request_problem_information,
            request_response_information=options.request_response_information,
            user_properties=(*options.user_properties, (path.NAME, broker_id)),
        )
    return encode(
        Connect(
            "MQIsdp" if version == 3 else "MQTT",
            version,
            settings.clean_start,
            settings.keepalive,
            settings.clientid,
            settings.username,
            settings.password.encode() if settings.password is not None else None,
            settings.will,
            properties,
            bridge=bridge_bit,
        ),
        version,
    )


def accepted(answer: Connack, version: int) -> RemoteLimits:
    """What the remote broker grants. Raises RefusedError."""
    properties = answer.properties
    if answer.reason:
        why = reason_name(answer.reason).replace("_", " ")
        text = properties.reason_string if properties is not None else None
        raise RefusedError(answer.reason, f"it refuses the connection: {why}{f' ({text})' if text else ''}")
    if properties is None:
        return RemoteLimits(version)
    return RemoteLimits(
        version,
        properties.receive_maximum or MOST_IN_FLIGHT,
        properties.maximum_packet_size or LARGEST_PACKET,
        2 if properties.maximum_qos is None else properties.maximum_qos,
        properties.retain_available != 0,
    )


def subscriptions(settings: BridgeSettings) -> list[SubscribeFilter]:
    """The topics of the file."""
    return [
        SubscribeFilter(
            one.mapping.source,
            min(one.qos, settings.max_qos),
            no_local=one.no_local,
            retain_as_published=one.retain_as_published,
            retain_handling=one.retain_handling,
        )
        for one in settings.subscriptions
    ]


def subscribe(settings: BridgeSettings, version: int, filters: list[SubscribeFilter]) -> Subscribe:
    """SUBSCRIBE for these; the packet identifier is yet to be set."""
    if version != 5:
        filters = [SubscribeFilter(one.topic_filter, one.qos) for one in filters]
    options = settings.options
    properties = None
    if version == 5 and (options.subscription_identifier or options.subscription_user_properties):
        identifier = options.subscription_identifier
        properties = Properties(
            subscription_identifiers=(identifier,) if identifier else (),
            user_properties=options.subscription_user_properties,
        )
    return Subscribe(0, filters, properties)


def refusals(asked: Subscribe, answer: Suback) -> Iterator[str]:
    """A line for each topic filter that the remote broker refuses."""
    for wanted, reason in zip(asked.filters, answer.reasons, strict=False):
        if reason >= ReasonCode.UNSPECIFIED_ERROR:
            why = reason_name(reason).replace("_", " ")
            yield f'it refuses the subscription to "{wanted.topic_filter}": {why}'
