"""Checks a test's arguments at once: a wait for something impossible would only time out."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypedDict

from pybroker.webhook.body.encode import ACTIONS

from ..faults.fault import DIRECTIONS, PACKETS
from ..faults.seen import SeenPacket
from ..packets.properties import Properties
from ..routing.topics import filter_error, matches, topic_error
from .messages import Message

CLOSED = "CLOSED"
"""The end of a connection, among the packets."""


class PublishProperties(TypedDict, total=False):
    """MQTT 5.0's properties of a message, by their names."""

    content_type: str
    response_topic: str
    correlation_data: bytes
    message_expiry_interval: int
    """Seconds."""
    payload_format_indicator: int
    """1: the payload is UTF-8 text."""
    user_properties: Mapping[str, str] | Iterable[tuple[str, str]]


def checked_topic(topic: str) -> str:
    """Raises ValueError where nothing can be published to it."""
    if error := topic_error(topic):
        raise ValueError(f'topic "{topic}": {error}')
    return topic


def checked_filter(topic_filter: str) -> str:
    if error := filter_error(topic_filter):
        raise ValueError(f'topic filter "{topic_filter}": {error}')
    return topic_filter


def checked_qos(qos: int) -> int:
    if isinstance(qos, bool) or qos not in (0, 1, 2):
        raise ValueError(f"qos is 0, 1 or 2, not {qos!r}")
    return qos


def encoded(payload: Any) -> bytes:
    """Bytes as they are, text as UTF-8, None as no payload, anything else as JSON."""
    if payload is None:
        return b""
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload)
    return (payload if isinstance(payload, str) else json.dumps(payload)).encode()


def properties_of(named: PublishProperties) -> Properties | None:
    """None where there are none. Raises TypeError for a name that no message has."""
    unknown = set(named) - set(PublishProperties.__annotations__)
    if unknown:
        raise TypeError(_no_such("property", sorted(unknown)[0], PublishProperties.__annotations__))
    if not named:
        return None
    values: dict[str, Any] = dict(named)
    pairs = values.pop("user_properties", ())
    values["user_properties"] = tuple(pairs.items() if isinstance(pairs, Mapping) else pairs)
    return Properties(**values)


def message_test(
    topic_filter: str, client: str | None, since: Message | float | None, own: bool
) -> Callable[[Message], bool]:
    """Whether a message is meant. ``own``: what the test has published counts too."""
    checked_filter(topic_filter)
    after = since.number if isinstance(since, Message) else 0
    at = since if isinstance(since, int | float) else 0.0
    return lambda message: (
        matches(topic_filter, message.topic)
        and (own or not message.own)
        and (client is None or message.client == client)
        and message.number > after
        and message.at >= at
    )


def packet_test(type: str | None, client: str | None, direction: str | None) -> Callable[[SeenPacket], bool]:
    """Whether a packet is meant. Raises ValueError where no packet is of this type or direction."""
    wanted = None if type is None else type.upper()
    if wanted not in (None, CLOSED, *PACKETS):
        raise ValueError(_no_such("packet", str(type), (*PACKETS, CLOSED)))
    if direction not in (None, *DIRECTIONS):
        raise ValueError(f'direction "{direction}" is neither "in" (from the client) nor "out" (to it)')
    return lambda seen: (
        (wanted is None or seen.type == wanted)
        and (client is None or seen.client == client)
        and (direction is None or seen.direction == direction)
    )


def checked_action(event: str | None) -> str | None:
    """NanoMQ's ``action`` of an event, with or without ``on_``. Raises ValueError."""
    if event is None:
        return None
    action = event.removeprefix("on_")
    if action not in ACTIONS.values():
        raise ValueError(_no_such("event", event, ACTIONS.values()))
    return action


def _no_such(kind: str, name: str, there: Iterable[str] | Collection[str]) -> str:
    names = list(there)
    near = difflib.get_close_matches(name.removeprefix("on_").upper(), [one.upper() for one in names], 1, 0.6)
    meant = next((one for one in names if near and one.upper() == near[0]), None)
    hint = f'; did you mean "{meant}"?' if meant else f"; there are {', '.join(sorted(names))}"
    return f'there is no {kind} "{name}"{hint}'
