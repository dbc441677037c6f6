"""A packet as recorded on the wire."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import localtime, strftime
from typing import TypeVar

from ..packets.model import (
    VERSION_NAMES,
    Connack,
    Connect,
    Packet,
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
from ..packets.properties import Properties
from ..packets.reasons import reason_name
from ..printable import printable

T = TypeVar("T")

SHOWN_BYTES = 60
SHOWN_MEMBERS = 100
"""The most topic filters, or reason codes, that are shown of one packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPacket:
    """One packet between a client and the broker."""

    at: float
    """Seconds since the epoch, by the broker's clock."""
    direction: str
    """``in``: from the client; ``out``: to it."""
    client: str
    """The client identifier; empty as long as it is not known."""
    type: str
    """``CONNECT``, ``PUBACK``, ...; ``MALFORMED`` for what is no packet; ``CLOSED`` for the end of the
    connection."""
    topics: tuple[str, ...] = ()
    """What it is about: the topic of a PUBLISH or of the message that it acknowledges, the filters of a
    SUBSCRIBE or UNSUBSCRIBE."""
    packet: Packet | None = None
    """The packet: one of ``pybroker.broker.packets.model``."""
    size: int = 0
    """Bytes."""
    peer: str = ""
    """The client's address, ``host:port``."""
    listener: str = ""
    fate: str = ""
    """The effect of a fault on it, such as ``dropped``; why the connection is CLOSED; else empty."""

    @property
    def topic(self) -> str | None:
        """The first of ``topics``."""
        return self.topics[0] if self.topics else None

    @property
    def properties(self) -> Properties:
        """MQTT 5.0's user properties; empty if there are none."""
        return getattr(self.packet, "properties", None) or Properties()

    def __str__(self) -> str:
        arrow = "->" if self.direction == "in" else "<-"
        who = self.client or self.peer or "(unknown)"
        words = " ".join(word for word in (self.type, told(self.packet, self.topic or "")) if word)
        fate = f"  [{self.fate}]" if self.fate else ""
        return printable(f"{moment(self.at)} {who} {arrow} {words}{fate}")


def moment(at: float) -> str:
    """Seconds since the epoch as a time of day, for display."""
    return f"{strftime('%H:%M:%S', localtime(at))}.{int(at % 1 * 1000):03}"


def shown(payload: bytes) -> str:
    """The beginning of a payload, as text or as hexadecimal digits."""
    start = payload[:SHOWN_BYTES]
    whole = len(start) == len(payload)
    try:
        words = getincrementaldecoder("utf-8")().decode(start, whole)
    except UnicodeDecodeError:
        words = start.hex(" ")
    return words + (f"... ({len(payload):,} bytes)" if len(payload) > SHOWN_BYTES else "")


def told(packet: Packet | None, topic: str, *, payloads: bool = True) -> str:
    """What a packet says, in a few words. ``topic`` is what it is about, as of `SeenPacket.topic`; of a
    payload either its beginning is told or, without ``payloads``, its size alone."""
    match packet:
        case Publish():
            marks = "".join(f" {name}" for name in ("retain", "dup") if getattr(packet, name))
            number = f" id {packet.packet_id}" if packet.qos else ""
            payload = f": {shown(packet.payload)}" if payloads else f" ({len(packet.payload)} bytes)"
            return f"{topic} qos {packet.qos}{number}{marks}{payload}"
        case Connect():
            start = "clean start" if packet.clean_start else "session kept"
            user = f" user {packet.username}" if packet.username is not None else ""
            will = f" will to {packet.will.topic}" if packet.will else ""
            version = VERSION_NAMES.get(packet.version, str(packet.version))
            return f"MQTT {version}{user} keepalive {packet.keepalive} s, {start}{will}"
        case Connack():
            return reason_name(packet.reason) + (", session present" if packet.session_present else "")
        case Puback() | Pubrec() | Pubrel() | Pubcomp():
            reason = f" {reason_name(packet.reason)}" if packet.reason else ""
            about = f" ({topic})" if topic else ""
            return f"id {packet.packet_id}{reason}{about}"
        case Subscribe():
            return _listed(packet.filters, lambda one: f"{one.topic_filter} qos {one.qos}")
        case Unsubscribe():
            return _listed(packet.topic_filters, str)
        case Unsuback():
            return _listed(packet.reasons, reason_name)
        case Suback():
            return _listed(packet.reasons, lambda one: reason_name(one) if one > 2 else f"qos {one.value}")
    code = getattr(packet, "reason", None)
    return reason_name(code) if code else ""


def _listed(members: Sequence[T], name: Callable[[T], str]) -> str:
    more = len(members) - SHOWN_MEMBERS
    return ", ".join(map(name, members[:SHOWN_MEMBERS])) + (f" and {more:,} more" if more > 0 else "")
