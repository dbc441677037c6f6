"""Messages, clients and subscriptions, as tests see them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from ..engine.engine import Engine
from ..events import MessagePublished
from ..faults.seen import moment, shown
from ..packets.model import Publish
from ..packets.properties import Properties
from ..printable import printable
from ..routing.topics import split_share
from ..session.session import Session


@dataclass(frozen=True, slots=True)
class Message:
    """A published message."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    client: str | None = None
    """The client identifier of the publisher; None if the broker published it."""
    at: float = 0.0
    """The time of arrival, in seconds since the epoch by the broker's clock; 0 for a retained message."""
    properties: Properties = field(default_factory=Properties, repr=False)
    """MQTT 5.0's user properties; empty if there are none."""
    own: bool = field(default=False, repr=False)
    """Whether the test itself has published it."""
    number: int = field(default=0, repr=False, compare=False)
    """The number of the message since the start; 0 for a retained message."""

    @property
    def text(self) -> str:
        """The payload as UTF-8. Raises UnicodeDecodeError."""
        return self.payload.decode()

    @property
    def user_properties(self) -> tuple[tuple[str, str], ...]:
        return self.properties.user_properties

    def json(self) -> Any:
        """The payload parsed as JSON. Raises ValueError."""
        return json.loads(self.payload)

    def __str__(self) -> str:
        who = self.client or ("the test" if self.own else "the broker")
        retain = " retain" if self.retain else ""
        told = printable(f"{who}: {self.topic} qos {self.qos}{retain}: {shown(self.payload)}")
        return f"{moment(self.at)} {told}" if self.at else told


@dataclass(frozen=True, slots=True)
class ClientView:
    """A client and its session, at one moment."""

    id: str
    connected: bool
    username: str | None
    version: int
    """The protocol level: 3 (MQTT 3.1), 4 (3.1.1) or 5 (5.0)."""
    keepalive: int
    """Seconds."""
    clean_start: bool
    peer: str
    """Its address, ``host:port``."""
    listener: str
    subscriptions: Mapping[str, int]
    """The granted QoS of each topic filter."""
    inflight: int
    """The number of sent messages that it has not acknowledged yet."""
    queued: int
    """The number of messages queued for it."""
    expiry: float
    """Seconds that its session outlives its connection; ``math.inf``: it never expires."""


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """One subscription of one session."""

    client: str
    topic_filter: str
    qos: int
    no_local: bool
    retain_as_published: bool
    retain_handling: int
    identifier: int
    """The subscription identifier; 0 if it has none."""

    @property
    def share(self) -> str | None:
        """The share name of a shared subscription."""
        return split_share(self.topic_filter)[0]


def message_of_event(event: MessagePublished, own: bool, number: int) -> Message:
    return Message(
        event.topic,
        event.payload,
        event.qos,
        event.retain,
        event.publisher.client_id if event.publisher else None,
        event.at,
        event.properties or Properties(),
        own,
        number,
    )


def message_of_packet(publish: Publish) -> Message:
    client = publish.source.client_id if publish.source else None
    return Message(
        publish.topic,
        publish.payload,
        publish.qos,
        publish.retain,
        client,
        properties=publish.properties or Properties(),
    )


def clients(engine: Engine) -> dict[str, ClientView]:
    """Every session, connected or not."""
    return {session.client_id: _client(session) for session in engine.sessions}


def subscriptions(engine: Engine) -> list[SubscriptionView]:
    return [
        SubscriptionView(
            session.client_id,
            one.topic_filter,
            one.qos,
            one.no_local,
            one.retain_as_published,
            one.retain_handling,
            one.identifier,
        )
        for session in engine.sessions
        for one in session.subscriptions.values()
    ]


def retained(engine: Engine) -> dict[str, Message]:
    """The retained message of each topic, without ``$SYS``."""
    now = engine.clock.monotonic()
    engine.retained.expire(now)
    found = {}
    for topic in list(engine.retained):
        publish = engine.retained.get(topic)
        if publish is not None and not topic.startswith("$SYS/"):
            found[topic] = message_of_packet(publish)
    return found


def _client(session: Session) -> ClientView:
    client = session.client
    return ClientView(
        id=session.client_id,
        connected=session.connected,
        username=client.username,
        version=client.protocol_version,
        keepalive=client.keepalive,
        clean_start=client.clean_start,
        peer=client.peer,
        listener=client.listener,
        subscriptions={one.topic_filter: one.qos for one in session.subscriptions.values()},
        inflight=len(session.inflight),
        queued=len(session.queue) if session.queue is not None else 0,
        expiry=session.expiry if session.expiry < 0xFFFFFFFF else inf,
    )
