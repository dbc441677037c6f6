"""Events as NanoMQ's JSON: compact, the keys in its order, UTF-8 not escaped.

The bodies of message_publish, client_connack and client_disconnected are those of a recorded NanoMQ, byte for
byte, with the exceptions in docs/webhooks.md. The others follow their naming: ``action`` is the event's name
without ``on_``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import cache
from json.encoder import encode_basestring
from typing import Any

from pybroker.broker import events

EVENTS: dict[str, type[events.Event]] = {
    "on_client_connect": events.ClientConnect,
    "on_client_connack": events.ClientConnack,
    "on_client_connected": events.ClientConnected,
    "on_client_disconnected": events.ClientDisconnected,
    "on_client_subscribe": events.ClientSubscribe,
    "on_client_unsubscribe": events.ClientUnsubscribe,
    "on_session_subscribed": events.SessionSubscribed,
    "on_session_unsubscribed": events.SessionUnsubscribed,
    "on_session_terminated": events.SessionTerminated,
    "on_message_publish": events.MessagePublished,
    "on_message_queued": events.MessageQueued,
    "on_message_delivered": events.MessageDelivered,
    "on_message_acked": events.MessageAcked,
    "on_message_dropped": events.MessageDropped,
}
"""The event types by the names of the configuration."""

ACTIONS: dict[type[events.Event], str] = {kind: name.removeprefix("on_") for name, kind in EVENTS.items()}
"""The value of the key ``action`` for each event type."""

Encode = Callable[[Any], str]

quote = encode_basestring
"""Text as a JSON string, UTF-8 not escaped; written in C."""

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def encoder(encoding: str) -> dict[type[events.Event], Encode]:
    """Functions from an event to its JSON text; ``encoding`` is that of payloads."""
    payload = PAYLOADS[encoding]

    def message(event: events.MessageEvent) -> str:
        publisher = event.publisher
        user, client = ("undefined", "undefined") if publisher is None else _names(publisher)
        return (
            f'{{"ts":{round(event.at * 1000)},"topic":{quote(event.topic)},'
            f'"retain":{"true" if event.retain else "false"},"qos":{event.qos},'
            f'"action":"{ACTIONS[type(event)]}","from_username":{quote(user)},"from_client_id":{quote(client)},'
            f'"payload":{payload(event.payload)}'
        )

    def publish(event: events.MessagePublished) -> str:
        return message(event) + "}"

    def received(event: events.MessageQueued | events.MessageDelivered | events.MessageAcked) -> str:
        return f"{message(event)},{_receiver(event.client)}}}"

    def dropped(event: events.MessageDropped) -> str:
        receiver = "" if event.client is None else "," + _receiver(event.client)
        return f'{message(event)},"reason":{quote(event.reason)}{receiver}}}'

    return {
        events.ClientConnect: _client_connect,
        events.ClientConnack: _client_connack,
        events.ClientConnected: _client_connected,
        events.ClientDisconnected: _with_reason,
        events.ClientSubscribe: _with_topic_and_qos,
        events.ClientUnsubscribe: _with_topic,
        events.SessionSubscribed: _with_topic_and_qos,
        events.SessionUnsubscribed: _with_topic,
        events.SessionTerminated: _with_reason,
        events.MessagePublished: publish,
        events.MessageQueued: received,
        events.MessageDelivered: received,
        events.MessageAcked: received,
        events.MessageDropped: dropped,
    }


def _client_connect(event: events.ClientConnect) -> str:
    client = event.client
    return (
        f'{{"proto_ver":{client.protocol_version},"keepalive":{client.keepalive},"ipaddress":{_address(client)},'
        f"{_who(event, client)}}}"
    )


def _client_connack(event: events.ClientConnack) -> str:
    client = event.client
    return (
        f'{{"proto_ver":{client.protocol_version},"keepalive":{client.keepalive},'
        f'"conn_ack":{quote(event.conn_ack)},{_who(event, client)}}}'
    )


def _client_connected(event: events.ClientConnected) -> str:
    client = event.client
    return (
        f'{{"proto_ver":{client.protocol_version},"keepalive":{client.keepalive},"ipaddress":{_address(client)},'
        f'"connected_at":{round(event.at * 1000)},'
        f'"session_present":{"true" if event.session_present else "false"},{_who(event, client)}}}'
    )


def _with_reason(event: events.ClientDisconnected | events.SessionTerminated) -> str:
    return f'{{"reason":{quote(event.reason)},{_who(event, event.client)}}}'


def _with_topic(event: events.ClientUnsubscribe | events.SessionUnsubscribed) -> str:
    return f'{{"topic":{quote(event.topic)},{_who(event, event.client)}}}'


def _with_topic_and_qos(event: events.ClientSubscribe | events.SessionSubscribed) -> str:
    return f'{{"topic":{quote(event.topic)},"qos":{event.qos},{_who(event, event.client)}}}'


def _who(event: events.Event, client: events.Client) -> str:
    return f'{_receiver(client)},"action":"{ACTIONS[type(event)]}"'


def _receiver(client: events.Client) -> str:
    user, client_id = _names(client)
    return f'"username":{quote(user)},"clientid":{quote(client_id)}'


def _names(client: events.Client) -> tuple[str, str]:
    """User name and client identifier; NanoMQ writes ``undefined`` where the client gave no user name."""
    return client.username if client.username is not None else "undefined", client.client_id


def _address(client: events.Client) -> str:
    host, _, _ = client.peer.rpartition(":")
    return quote(host.removeprefix("[").removesuffix("]"))


def _plain(payload: bytes) -> str:
    try:
        return quote(payload.decode())
    except UnicodeDecodeError:  # every byte must be kept
        return f'"{b64encode(payload).decode()}","payload_encoding":"base64"'


def _base64(payload: bytes) -> str:
    return f'"{b64encode(payload).decode()}"'


def _base62(payload: bytes) -> str:
    if len(payload) > BASE62_BYTES:
        return f'{_base64(payload)},"payload_encoding":"base64"'
    return f'"{base62(payload)}"'


BASE62_BYTES = 4 << 10
"""Longer payloads take too long: the time grows with the square of the length."""


def base62(data: bytes) -> str:
    """``data`` read as one big-endian number, with one ``0`` for each leading zero byte."""
    zeros = len(data) - len(data.lstrip(b"\0"))
    number = int.from_bytes(data, "big")
    width = 8
    while number >= _power(width):
        width *= 2
    return "0" * zeros + _digits(number, width).lstrip("0")


def _digits(number: int, width: int) -> str:
    """``width`` digits, computed in halves, because a division costs the square of the length."""
    if width > 8:
        width //= 2
        high, low = divmod(number, _power(width))
        return _digits(high, width) + _digits(low, width)
    text = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        text = BASE62[digit] + text
    return text


@cache
def _power(width: int) -> int:
    power: int = 62**width
    return power


PAYLOADS: dict[str, Callable[[bytes], str]] = {"plain": _plain, "base64": _base64, "base62": _base62}
