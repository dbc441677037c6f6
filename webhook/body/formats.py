"""Formats, from an event to its headers and body: NanoMQ's JSON, CloudEvents, or a form."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from string import ascii_letters, digits, punctuation
from urllib.parse import quote, urlencode

from pybroker.broker import events

from ..parcels import Headers
from ..settings import WebhookSettings
from .encode import ACTIONS, PAYLOADS, encoder
from .encode import quote as json_quote

FORMATS = ("nanomq", "cloudevents", "form", "mongooseim")

Format = Callable[[events.Event, str], tuple[Headers, bytes]]
"""``format(event, id)`` gives the event's own headers and its body; ``id`` is its ``webhook-id``."""

CLOUDEVENTS_SOURCE = "/pybroker/webhook/"
"""The beginning of ``source``; the endpoint's name follows."""
CLOUDEVENTS_TYPE = "pybroker."
"""The beginning of ``type``; NanoMQ's action follows, such as ``pybroker.message_publish``."""

# What a header value carries unescaped (CloudEvents HTTP protocol binding, 3.1.3.2).
_HEADER_SAFE = (ascii_letters + digits + punctuation).replace('"', "").replace("%", "")


def format_for(settings: WebhookSettings) -> Format:
    """The format of the endpoint; events of a batch are formatted so that they can be joined."""
    if settings.format == "form":
        return _form()
    if settings.format == "mongooseim":
        return _mongooseim(settings)
    if settings.format == "cloudevents":
        if settings.cloudevents_mode == "structured" or settings.batch.size > 1:
            return _cloudevents_structured(settings)
        return _cloudevents_binary(settings)
    encoders = encoder(settings.encoding)

    def nanomq(event: events.Event, id: str) -> tuple[Headers, bytes]:
        return (), encoders[type(event)](event).encode()

    return nanomq


def subject(event: events.Event) -> tuple[str | None, str]:
    """The topic and the client identifier that an event is about."""
    topic: str | None = getattr(event, "topic", None)
    client: events.Client | None = getattr(event, "client", None) or getattr(event, "publisher", None)
    return topic, client.client_id if client else ""


def _cloudevents_binary(settings: WebhookSettings) -> Format:
    encoders = encoder(settings.encoding)
    source = _header(CLOUDEVENTS_SOURCE + settings.name)

    def binary(event: events.Event, id: str) -> tuple[Headers, bytes]:
        topic, client = subject(event)
        headers = (
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", source),
            ("ce-type", CLOUDEVENTS_TYPE + ACTIONS[type(event)]),
            ("ce-time", _rfc3339(event.at)),
            *((("ce-subject", _header(topic or client)),) if topic or client else ()),
            ("content-type", "application/json"),
        )
        return headers, encoders[type(event)](event).encode()

    return binary


def _cloudevents_structured(settings: WebhookSettings) -> Format:
    encoders = encoder(settings.encoding)
    source = json_quote(CLOUDEVENTS_SOURCE + settings.name)
    content_type: Headers = (("content-type", "application/cloudevents+json"),)

    def structured(event: events.Event, id: str) -> tuple[Headers, bytes]:
        topic, client = subject(event)
        about = f'"subject":{json_quote(topic or client)},' if topic or client else ""
        text = (
            f'{{"specversion":"1.0","id":{json_quote(id)},"source":{source},'
            f'"type":"{CLOUDEVENTS_TYPE}{ACTIONS[type(event)]}","time":"{_rfc3339(event.at)}",{about}'
            f'"datacontenttype":"application/json","data":{encoders[type(event)](event)}}}'
        )
        return content_type, text.encode()

    return structured


def _form() -> Format:
    """MongooseIM's fields, and ``action`` to tell the events apart."""
    content_type: Headers = (("content-type", "application/x-www-form-urlencoded"),)
    server = socket.gethostname()

    def form(event: events.Event, id: str) -> tuple[Headers, bytes]:
        topic, client = subject(event)
        message = b""
        if isinstance(event, events.MessageEvent):
            message = event.payload
            client = event.publisher.client_id if event.publisher else ""
        fields = {
            "author": client,
            "server": server,
            "receiver": topic or "",
            "message": message,
            "action": ACTIONS[type(event)],
        }
        return content_type, urlencode(fields).encode()

    return form


def _mongooseim(settings: WebhookSettings) -> Format:
    """The bodies of MongooseIM's event pusher. The receiver of a message is the client that the event names,
    otherwise the topic. Events that MongooseIM does not have are written as NanoMQ writes them."""
    encoders = encoder(settings.encoding)
    payload = PAYLOADS[settings.encoding]

    def mongooseim(event: events.Event, id: str) -> tuple[Headers, bytes]:
        if isinstance(event, events.ClientConnected | events.ClientDisconnected):
            present = "true" if isinstance(event, events.ClientConnected) else "false"
            text = f'{{"user_id":{json_quote(event.client.client_id)},"present":{present}}}'
        elif isinstance(event, events.MessageEvent):
            client: events.Client | None = getattr(event, "client", None)
            text = (
                f'{{"from_user_id":{json_quote(event.publisher.client_id if event.publisher else "")},'
                f'"to_user_id":{json_quote(client.client_id if client else event.topic)},'
                f'"message":{payload(event.payload)}}}'
            )
        else:
            text = encoders[type(event)](event)
        return (), text.encode()

    return mongooseim


def _header(text: str) -> str:
    return quote(text, safe=_HEADER_SAFE)


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
