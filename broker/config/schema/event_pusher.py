"""The rows of `event_pusher.NAME`: the keys of every backend, and those of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ..units import (
    backend,
    choice,
    flag,
    name_prefix,
    path,
    server,
    size,
    template,
    text,
    time,
    topic_filter,
    url,
    whole,
)
from . import webhook
from .row import ANYTHING, Row, tls_client, under

PREFIX = "event_pusher"

_OTHERWISE = {
    "pool_size": ("4", "Parallel batches."),
    "cancel_timeout": ("10s", "How long a batch may take."),
    "retry.max_attempts": ("1000", "Tries of one event, including the first."),
    "retry.ttl": ("1d", "An event older than this is not tried again."),
    "batch.size": ("100", "Events in one batch; for push 8, for http 1."),
    "batch.time": ("0", "How long a batch waits to be filled."),
}
"""Defaults and words that are not those of webhooks: a server that is away is waited for."""

_NOT_SHARED = ("enable", "url", "headers", "body.format")


def rows() -> Iterator[Row]:
    yield from _registrations()
    yield from under(PREFIX, *_of_all(), *_shared(), ours=True, reload=True)
    yield from tls_client(f"{PREFIX}.tls", reload=True)
    yield from under(PREFIX, _USER_PROPERTIES, ours=True, reload=True)
    for keys in OF_BACKEND.values():
        yield from under(PREFIX, *keys, ours=True, reload=True)


def _registrations() -> Iterator[Row]:
    otherwise = "By default that of `sqlite`, or that of the spool of push; otherwise memory only."
    yield from under(
        "push_registrations",
        Row("path", path(), "", f"The directory of push-registrations.sqlite. {otherwise}"),
        ours=True,
    )
    yield from under(
        "push_registrations",
        Row("max", whole(1), "100000", "Registered devices, at most."),
        Row("max_per_client", whole(1), "10", "Registered devices of one client, at most."),
        Row("max_bytes", size(1 << 10), "256MB", "Memory for registrations."),
        ours=True,
        reload=True,
    )


def _of_all() -> Iterator[Row]:
    formats = choice("nanomq", "cloudevents", "form", "mongooseim")
    yield Row("enable", flag(), "true", "False: ignore the section.")
    yield Row("backend", backend(), "", "The backend; by default the NAME of the section.")
    yield Row("url", server(), "", "The server; several if the backend supports it.", "list", environ=True)
    yield Row(
        "headers",
        template(),
        "",
        "Headers of each event, with templates such as `{topic}`.",
        "map",
        environ=True,
    )
    yield Row("body.format", formats, "nanomq", "The format of the body.")
    yield Row("options", text(), "", "The options of a `package.module:Class`.", "map", environ=True)


def _shared() -> Iterator[Row]:
    """The keys of webhooks that every backend has."""
    for row in webhook.rows():
        key = row.key.removeprefix("webhook.")
        if key in _NOT_SHARED or key.startswith(("tls.", "events[]")):
            continue
        row = dataclasses.replace(row, key=key, differs="")
        if key == "cancel_timeout":
            row = dataclasses.replace(row, kind=time(0.001))
        if key == "events":
            row = Row(key, ANYTHING, "", "As `webhook.events`.", "objects", items="webhook.events[]")
        if key in _OTHERWISE:
            row = dataclasses.replace(row, default=_OTHERWISE[key][0], help=_OTHERWISE[key][1])
        yield row


_OF_PUSH = ("payload", "waiting")
"""What else may stand in the templates of push."""
_USER_PROPERTIES = Row(
    "user_properties",
    name_prefix(),
    "",
    "The prefix of headers for the user properties of a message; without it there are none.",
)
_EXCHANGE = choice("topic", "direct", "fanout", "headers")


def _mongooseim(name: str, words: str, sent: str = "", received: str = "") -> Iterator[Row]:
    """An exchange as MongooseIM has it."""
    yield Row(f"{name}_exchange.name", text(), "", words)
    yield Row(f"{name}_exchange.type", _EXCHANGE, "topic", "The type of the exchange.")
    yield Row(
        f"{name}_exchange.durable", flag(), "false", "Whether the exchange survives a restart of RabbitMQ."
    )
    if sent:
        yield Row(
            f"{name}_exchange.sent_topic",
            text(),
            sent,
            "The end of the routing key of a sent message, after the client.",
        )
        yield Row(f"{name}_exchange.recv_topic", text(), received, "The same for a received message.")


OF_BACKEND: dict[str, tuple[Row, ...]] = {
    "rabbit": (
        Row(
            "exchange.name",
            template(),
            "",
            "The exchange; without it, messages go to the queue of the routing key.",
        ),
        Row("exchange.type", _EXCHANGE, "topic", "The type of the exchange."),
        Row("exchange.durable", flag(), "true", "Whether the exchange survives a restart of RabbitMQ."),
        Row("exchange.declare", flag(), "true", "Declare it at each connect. False: it must exist."),
        Row("routing_key", template(), "{topic}", "The routing key; `/` in topics becomes `.`."),
        Row(
            "mandatory",
            flag(),
            "true",
            "A message that reaches no queue becomes a dead letter; false: it counts as delivered.",
        ),
        Row("persistent", flag(), "true", "Messages survive a restart of RabbitMQ if their queue does."),
        Row("heartbeat", time(1, 3600), "30s", "A silent connection is closed after this time."),
        *_mongooseim("presence", "MongooseIM's exchange for clients that connect and disconnect."),
        *_mongooseim("chat_msg", "MongooseIM's exchange for messages.", "chat_msg_sent", "chat_msg_recv"),
        *_mongooseim(
            "groupchat_msg",
            "MongooseIM's exchange for messages to a group.",
            "groupchat_msg_sent",
            "groupchat_msg_recv",
        ),
        Row("groupchat_msg_exchange.topic", topic_filter(), "", "The topics of messages to a group."),
    ),
    "nats": (
        Row(
            "subject",
            template(),
            "mqtt.{topic}",
            "The subject; a stream must include it. `/` in topics becomes `.`.",
        ),
        Row("credentials", path(), "", "A .creds file."),
    ),
    "redis": (
        Row("stream", template(), "pybroker:events", "The key of the stream."),
        Row("maxlen", whole(0), "1000000", "Approximate number of entries that the stream keeps; 0: all."),
    ),
    "kafka": (
        Row("topic", template(), "", "The topic to publish to. For kafka `/` in MQTT topics becomes `.`."),
        Row(
            "key",
            template(),
            "{clientid}",
            "The key of the record; events of one key keep their order, in one partition.",
        ),
        Row("client", text(secret=True), "", "Settings that are passed to librdkafka.", "map", environ=True),
    ),
    "sns": (
        Row("topic_arn", text(), "", "The topic of events that `topic_arns` does not list."),
        Row("topic_arns", text(), "", 'The topic of each event: `on_message_publish = "arn:..."`.', "map"),
        Row("region", text(), "", "The region; without it, that of the first topic ARN."),
        Row("profile", text(), "", "A profile of the credentials file."),
        Row(
            "access_key_id",
            text(secret=True),
            "",
            "The access key; without it, AWS's usual chain.",
            environ=True,
        ),
        Row(
            "secret_access_key",
            text(secret=True),
            "",
            "The secret that belongs to `access_key_id`.",
            environ=True,
        ),
        Row(
            "session_token",
            text(secret=True),
            "",
            "The session token of temporary credentials.",
            environ=True,
        ),
        Row("role_arn", text(), "", "A role to assume."),
        Row("attributes", template(), "", "Message attributes, with templates such as `{topic}`.", "map"),
        Row("group_id", template(), "{clientid}", "The message group, for a FIFO topic."),
    ),
    "push": (
        Row("alert.title", template(*_OF_PUSH), "{topic}", "The title of a notification."),
        Row("alert.body", template(*_OF_PUSH), "{payload}", "The text of a notification."),
        Row("alert.badge", template(*_OF_PUSH), "", "The number on the app's icon, such as `{waiting}`."),
        Row("alert.sound", text(), "", "The sound of a notification."),
        Row("alert.click_action", text(), "", "The action of a tap; `category` of APNs."),
        Row("data", template(*_OF_PUSH), "", "Data for the app; by default `topic`.", "map"),
        Row("collapse_key", template(*_OF_PUSH), "{topic}", "A device shows one notification of each key."),
        Row("throttle", time(0, 86400), "10s", "The least time between two notifications of a key."),
        Row("priority", choice("normal", "high"), "high", "`high` wakes a device that sleeps."),
        Row("time_to_live", time(0, 2419200), "", "How long a service keeps it for a device that is off."),
        Row("mutable_content", flag(), "false", "APNs: the app may change a notification."),
        Row("mode", choice("prod", "dev"), "prod", "APNs: `dev` is the sandbox."),
        Row("apns.topic", text(), "", "APNs: the bundle identifier of the app."),
        Row("apns.keyfile", path(), "", "Apple's .p8 file, to use APNs without MongoosePush."),
        Row("apns.key_id", text(), "", "The identifier of that key."),
        Row("apns.team_id", text(), "", "The identifier of the developer team."),
        Row("apns.url", url(), "", "Another server with the protocol of APNs."),
        Row("fcm.credentials", path(), "", "A service account's file, to use FCM without MongoosePush."),
        Row("fcm.url", url(), "", "Another server with the protocol of FCM."),
    ),
    "mqtt-topic": (
        Row("qos", whole(0, 2), "0", "The QoS of published events."),
        Row("retain", flag(), "false", "Whether events are published as retained messages."),
    ),
}
"""The keys that only one backend has, but for those of OF_SEVERAL."""

OF_SEVERAL = {
    "topic": ("kafka", "mqtt-topic"),
    "user_properties": ("kafka", "nats", "rabbit", "redis", "sns"),
}
"""The keys that several backends have, and which."""
