"""The events of the broker, as plain data.

Each event is a frozen value. The engine makes one only where a hook listens, so an event that
nobody wants costs one truth test. Field names are MQTT's; the webhook turns them into NanoMQ's keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Client:
    """The client that an event is about, with what is known at the time of the event."""

    client_id: str
    username: str | None = None
    protocol_version: int = 4
    """The protocol level of CONNECT: 3 (MQTT 3.1), 4 (3.1.1) or 5 (5.0)."""
    keepalive: int = 0
    """Seconds, as the client asked for."""
    clean_start: bool = True
    peer: str = ""
    """The client's address, ``host:port``."""
    listener: str = ""
    """The name of the listener that accepted the connection, such as ``tcp`` or ``ssl.edge``."""

    @property
    def host(self) -> str:
        """The client's address without the port; empty over a unix socket."""
        return self.peer.rpartition(":")[0].strip("[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events."""

    at: float
    """The time of the event, in seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConnect(Event):
    """A well-formed CONNECT has arrived. It is not decided yet whether the client may connect."""

    client: Client


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConnack(Event):
    """A CONNACK is sent: ``success``, or the name of the reason code that refuses the client."""

    client: Client
    conn_ack: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConnected(Event):
    """The client is connected and its session is ready."""

    client: Client
    session_present: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientDisconnected(Event):
    """The network connection has ended. ``reason`` is ``normal`` only after the client's DISCONNECT."""

    client: Client
    reason: str
    admitted: bool = True
    """False if the client had been refused: it was never connected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSubscribe(Event):
    """One topic filter of a SUBSCRIBE has arrived. It is not decided yet whether it is granted."""

    client: Client
    topic: str
    qos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientUnsubscribe(Event):
    """One topic filter of an UNSUBSCRIBE has arrived."""

    client: Client
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSubscribed(Event):
    """A subscription was added to the session or replaced; ``qos`` is the granted one."""

    client: Client
    topic: str
    qos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUnsubscribed(Event):
    """A subscription was removed from the session."""

    client: Client
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerminated(Event):
    """A session ended for good: ``clean_start``, ``expired``, ``takenover``, ``disconnected``, ``kicked``."""

    client: Client
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEvent(Event):
    """The base of the events about one application message."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    publisher: Client | None
    """The publisher; None if the broker published it."""
    user_properties: tuple[tuple[str, str], ...] = field(default=())
    """MQTT 5.0 user properties, in the order of the packet."""
    content_type: str | None = None
    properties: Any = None
    """The packet's ``pybroker.broker.packets.properties.Properties``; None where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePublished(MessageEvent):
    """A PUBLISH was accepted (at QoS 2: on its first arrival), or a will was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRetained(MessageEvent):
    """A message was retained for its topic; an empty payload has cleared the topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageQueued(MessageEvent):
    """A QoS 1 or 2 message waits for a client that is not connected. ``qos`` is the QoS at which the client
    will get it."""

    client: Client


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDelivered(MessageEvent):
    """A PUBLISH was handed to a subscriber's connection."""

    client: Client


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAcked(MessageEvent):
    """A subscriber acknowledged a message: PUBACK at QoS 1, PUBCOMP at QoS 2."""

    client: Client


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDropped(MessageEvent):
    """A message did not reach one receiver, or did not reach any: see ``reason``.

    Reasons: ``no_subscribers``, ``queue_full``, ``expired``, ``packet_too_large``, ``slow_receiver``,
    ``not_authorized``, ``session_terminated``, ``quota_exceeded``, ``loop`` (a bridge has brought it a second
    time; ``client`` is then the bridge), ``refused`` (the remote broker of a bridge does not take it).
    """

    client: Client | None
    """The receiver; None if the message was dropped for all receivers."""
    reason: str
