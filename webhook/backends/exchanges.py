"""The exchange of RabbitMQ and the routing key for each event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pybroker.broker import events
from pybroker.broker.routing.topics import matches

from ..body.template import compile_template
from ..settings import SettingsError, WebhookSettings

KEY_BYTES = 255
"""The longest routing key that AMQP 0-9-1 can carry."""

Route = Callable[[events.Event], tuple[str, str]]
"""A function from an event to exchange and routing key."""


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    type: str
    durable: bool
    declare: bool
    """Whether to declare the exchange; otherwise it must exist."""


def exchanges(settings: WebhookSettings) -> tuple[tuple[Exchange, ...], Route]:
    """The exchanges to declare at each connect, and the route of each event."""
    options = settings.options
    name = options["exchange.name"] or ""
    own = []
    if name and "{" not in name:
        own.append(
            Exchange(name, options["exchange.type"], options["exchange.durable"], options["exchange.declare"])
        )
    theirs = {
        kind: Exchange(
            options[f"{kind}_exchange.name"],
            options[f"{kind}_exchange.type"],
            options[f"{kind}_exchange.durable"],
            True,
        )
        for kind in ("presence", "chat_msg", "groupchat_msg")
        if options[f"{kind}_exchange.name"]
    }
    if "groupchat_msg" in theirs and not options["groupchat_msg_exchange.topic"]:
        raise SettingsError(
            f"{settings.label}: groupchat_msg_exchange.topic is missing: the topics of groups"
        )
    exchange = compile_template(name, _word)
    key = compile_template(options["routing_key"], _word)

    def route(event: events.Event) -> tuple[str, str]:
        found = _as_mongooseim(event, settings, theirs) if theirs else None
        where, routing_key = found or (exchange(event), key(event))
        return where, _shortened(routing_key)

    return (*own, *theirs.values()), route


def _as_mongooseim(
    event: events.Event, settings: WebhookSettings, theirs: dict[str, Exchange]
) -> tuple[str, str] | None:
    options = settings.options
    if isinstance(event, events.ClientConnected | events.ClientDisconnected):
        return (theirs["presence"].name, event.client.client_id) if "presence" in theirs else None
    if isinstance(event, events.MessagePublished):
        client, direction = event.publisher, "sent_topic"
    elif isinstance(event, events.MessageDelivered):
        client, direction = event.client, "recv_topic"
    else:
        return None
    group = "groupchat_msg" in theirs and matches(options["groupchat_msg_exchange.topic"], event.topic)
    kind = "groupchat_msg" if group else "chat_msg"
    if kind not in theirs:
        return None
    who = client.client_id if client else ""
    return theirs[kind].name, f"{who}.{options[f'{kind}_exchange.{direction}']}"


def _word(name: str, value: str) -> str:
    return value.replace("/", ".") if name == "topic" else value


def _shortened(key: str) -> str:
    """The routing key, cut to the length that AMQP can carry."""
    data = key.encode()
    return key if len(data) <= KEY_BYTES else data[:KEY_BYTES].decode(errors="ignore")
