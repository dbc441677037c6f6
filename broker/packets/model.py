"""MQTT's control packets as objects, the same for all versions of the protocol.

Reason codes are always those of MQTT 5.0: the codec translates those of 3.x. ``properties`` is None below
5.0. Packet identifiers are 1 to 65,535.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from sys import byteorder
from typing import TYPE_CHECKING, TypeAlias

from .properties import Properties
from .reasons import ReasonCode

if TYPE_CHECKING:
    from ..events import Client

VERSION_NAMES = {3: "3.1", 4: "3.1.1", 5: "5.0"}
"""The usual name of each protocol level."""


class Publish:
    """PUBLISH, as fields and as bytes.

    It is written by hand and not as a dataclass, because one is made for every message. The payload is cut
    out of ``wire`` only if it is needed.
    """

    __slots__ = (
        "dup",
        "expires_at",
        "packet_id",
        "payload_at",
        "properties",
        "qos",
        "retain",
        "source",
        "topic",
        "version",
        "wire",
    )

    def __init__(
        self,
        topic: str,
        qos: int,
        retain: bool,
        dup: bool,
        packet_id: int,
        properties: Properties | None,
        version: int,
        wire: bytes,
        payload_at: int,
        expires_at: float | None = None,
    ) -> None:
        self.topic = topic
        self.qos = qos
        self.retain = retain
        self.dup = dup
        self.packet_id = packet_id
        """0 at QoS 0."""
        self.properties = properties
        self.version = version
        """The protocol level of ``wire``. 3 and 4 have the same layout; 5 adds the properties."""
        self.wire = wire
        """The whole packet, as it was received or encoded."""
        self.payload_at = payload_at
        """The position of the payload in ``wire``."""
        self.expires_at = expires_at
        """When the message expires, on the clock of whoever sets it. The codec does not set it."""
        self.source: Client | None = None
        """Who published it, set by the engine. None: the broker itself."""

    @property
    def payload(self) -> bytes:
        return self.wire[self.payload_at :]

    def __eq__(self, other: object) -> bool:
        """Whether it is the same message for an application. Versions and spare bytes of ``wire`` may
        differ."""
        if not isinstance(other, Publish):
            return NotImplemented
        return (
            self.topic == other.topic
            and (self.qos, self.retain, self.dup) == (other.qos, other.retain, other.dup)
            and self.packet_id == other.packet_id
            and self.properties == other.properties
            and self.payload == other.payload
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        size = len(self.wire) - self.payload_at
        return (
            f"Publish(topic={self.topic!r}, qos={self.qos}, retain={self.retain}, dup={self.dup}, "
            f"packet_id={self.packet_id}, properties={self.properties}, payload of {size} bytes)"
        )


@dataclass(slots=True)
class Will:
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties | None = None


@dataclass(slots=True)
class Connect:
    protocol_name: str
    version: int
    """The protocol level: 3 (MQTT 3.1), 4 (3.1.1) or 5 (5.0)."""
    clean_start: bool
    keepalive: int
    """Seconds; 0 is none."""
    client_id: str
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Will | None = None
    properties: Properties | None = None
    bridge: bool = False
    """3.x: the client is a bridge of another broker, which adds 0x80 to the protocol level. This is not in
    the specification; mosquitto and NanoMQ do it."""


@dataclass(slots=True)
class Connack:
    session_present: bool
    reason: ReasonCode = ReasonCode.SUCCESS
    properties: Properties | None = None


@dataclass(slots=True)
class Puback:
    packet_id: int
    reason: ReasonCode = ReasonCode.SUCCESS
    properties: Properties | None = None


@dataclass(slots=True)
class Pubrec:
    packet_id: int
    reason: ReasonCode = ReasonCode.SUCCESS
    properties: Properties | None = None


@dataclass(slots=True)
class Pubrel:
    packet_id: int
    reason: ReasonCode = ReasonCode.SUCCESS
    properties: Properties | None = None


@dataclass(slots=True)
class Pubcomp:
    packet_id: int
    reason: ReasonCode = ReasonCode.SUCCESS
    properties: Properties | None = None


@dataclass(slots=True)
class SubscribeFilter:
    """One topic filter of SUBSCRIBE with its options; the last three are always 0 below 5.0."""

    topic_filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    """0: send retained messages; 1: only for a new subscription; 2: never."""


@dataclass(slots=True)
class Subscribe:
    packet_id: int
    filters: list[SubscribeFilter]
    properties: Properties | None = None


@dataclass(slots=True)
class Suback:
    packet_id: int
    reasons: list[ReasonCode]
    """One for each filter, in its order: the granted QoS or the refusal."""
    properties: Properties | None = None


@dataclass(slots=True)
class Unsubscribe:
    packet_id: int
    topic_filters: list[str]
    properties: Properties | None = None


@dataclass(slots=True)
class Unsuback:
    packet_id: int
    reasons: list[ReasonCode]
    """One for each filter, in its order; not sent below 5.0."""
    properties: Properties | None = None


@dataclass(slots=True)
class Pingreq:
    pass


@dataclass(slots=True)
class Pingresp:
    pass


@dataclass(slots=True)
class Disconnect:
    reason: ReasonCode = ReasonCode.SUCCESS
    properties: Properties | None = None


@dataclass(slots=True)
class Auth:
    """Only in 5.0."""

    reason: ReasonCode = ReasonCode.SUCCESS
    properties: Properties | None = None


Packet: TypeAlias = (
    Connect
    | Connack
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)


class PublishRun:
    """PUBLISH packets that were received one after another and differ only in packet identifier and payload.
    They have one topic and one QoS, no DUP, no RETAIN and no properties. They can be handled together;
    iterating gives each."""

    __slots__ = ("ends", "packet_ids", "payload_at", "qos", "size", "topic", "version", "wire")

    def __init__(
        self,
        topic: str,
        qos: int,
        version: int,
        wire: bytes,
        payload_at: int,
        ends: list[int],
        packet_ids: list[int],
        size: int = 0,
    ) -> None:
        self.topic = topic
        self.qos = qos
        self.version = version
        self.wire = wire
        """All the packets, as they were received."""
        self.payload_at = payload_at
        """The position of each payload."""
        self.ends = ends
        """The end of each packet in ``wire``."""
        self.size = size
        """Bytes of each packet; 0 if they may differ."""
        self.packet_ids = packet_ids
        """The packet identifier of each; zeros at QoS 0."""

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[Publish]:
        topic, qos, version, payload_at, all_wires = (
            self.topic,
            self.qos,
            self.version,
            self.payload_at,
            self.wire,
        )
        start = 0
        for end, packet_id in zip(self.ends, self.packet_ids, strict=True):
            wire = all_wires[start:end]
            yield Publish(topic, qos, False, False, packet_id, None, version, wire, payload_at)
            start = end

    def largest(self) -> int:
        """Bytes of the largest packet."""
        if self.size:
            return self.size
        largest = start = 0
        for end in self.ends:
            if end - start > largest:
                largest = end - start
            start = end
        return largest

    def cut(self, start: int, stop: int) -> PublishRun:
        """The packets from ``start`` up to ``stop``."""
        first = self.ends[start - 1] if start else 0
        ends = [end - first for end in self.ends[start:stop]]
        wire = self.wire[first : first + ends[-1]] if ends else b""
        packet_ids = self.packet_ids[start:stop]
        return PublishRun(
            self.topic, self.qos, self.version, wire, self.payload_at, ends, packet_ids, self.size
        )

    def only(self, places: list[int]) -> PublishRun:
        """The packets at these places."""
        wires: list[bytes] = []
        ends: list[int] = []
        end = 0
        for place in places:
            wire = self.wire[self.ends[place - 1] if place else 0 : self.ends[place]]
            wires.append(wire)
            end += len(wire)
            ends.append(end)
        packet_ids = [self.packet_ids[place] for place in places]
        wire = b"".join(wires)
        return PublishRun(
            self.topic, self.qos, self.version, wire, self.payload_at, ends, packet_ids, self.size
        )

    def renumbered(self, packet_id: int) -> bytes:
        """The packets above QoS 0, with identifiers from ``packet_id`` on. The last may not exceed 65,535."""
        wire = bytearray(self.wire)
        id_at = self.payload_at - (3 if self.version == 5 else 2)
        if self.size:
            packet_ids = array("H", range(packet_id, packet_id + len(self.ends)))
            if byteorder == "little":
                packet_ids.byteswap()
            joined = packet_ids.tobytes()
            wire[id_at :: self.size] = joined[::2]
            wire[id_at + 1 :: self.size] = joined[1::2]
            return bytes(wire)
        start = 0
        for end in self.ends:
            wire[start + id_at] = packet_id >> 8
            wire[start + id_at + 1] = packet_id & 0xFF
            packet_id += 1
            start = end
        return bytes(wire)


class AcknowledgementRun:
    """Acknowledgements of one type that were received one after another, without reason or properties. They
    can be handled together; iterating gives each."""

    __slots__ = ("packet_ids", "type")

    def __init__(
        self, type: type[Puback] | type[Pubrec] | type[Pubrel] | type[Pubcomp], packet_ids: list[int]
    ) -> None:
        self.type = type
        self.packet_ids = packet_ids

    def __len__(self) -> int:
        return len(self.packet_ids)

    def __iter__(self) -> Iterator[Puback | Pubrec | Pubrel | Pubcomp]:
        return map(self.type, self.packet_ids)


Run: TypeAlias = PublishRun | AcknowledgementRun


def singly(packets: Iterable[Packet | Run]) -> Iterator[Packet]:
    """The packets, with the packets of runs one by one."""
    for packet in packets:
        if isinstance(packet, PublishRun | AcknowledgementRun):
            yield from packet
        else:
            yield packet
