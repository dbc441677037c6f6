"""The rows of the state, as plain values. They are the same in the journal, in the database and in a dump.
Moments are seconds since the epoch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from struct import pack, unpack
from typing import NamedTuple

from ..engine.bans import Ban
from ..events import Client
from ..packets.encoder import forwarded, make_publish
from ..packets.model import Publish, PublishRun, Will
from ..packets.packet_type import PacketType
from ..packets.properties import decode_properties, encode_properties
from ..session.stretch import Stretch

NEVER = -1.0
"""A moment that never comes."""
WAITS, SENT, RELEASED = range(3)
"""The state of a message."""


class MessageRow(NamedTuple):
    """A message, as its publisher sent it."""

    topic: str
    flags: int
    """QoS, 4 where it is to be retained, and from 8 on the protocol level of ``wire``."""
    payload_at: int
    expires_at: float
    client: str | None
    """The publisher; None: the broker itself."""
    username: str | None
    wire: bytes


class EntryRow(NamedTuple):
    """A message on its way to a session. The order is that of the numbers."""

    number: int
    session: int
    message: int
    flags: int
    """QoS, and 4 where the retain flag is set for the receiver."""
    packet_id: int
    """0 while it waits."""
    state: int
    identifiers: str
    """Subscription identifiers with commas between them."""
    share: str
    """The filter of the shared subscription it was taken from, empty if none."""


class StretchRow(NamedTuple):
    """Messages on their way to a session that came in one read: neighbours in its order, with one topic, one
    QoS and one publisher, without properties."""

    number: int
    """The number of the first message, as in EntryRow. The following messages have the following numbers."""
    session: int
    length: int
    """The number of messages."""
    packet_id: int
    """The packet identifier of the first message if they were sent at once; 0 if they wait."""
    flags: int
    """As in MessageRow, for all of them."""
    payload_at: int
    topic: str
    client: str | None
    username: str | None
    ends: bytes
    """The position in ``wire`` where each message ends: four bytes each, little-endian."""
    wire: bytes

    @property
    def last(self) -> int:
        """The number of the last message."""
        return self.number + self.length - 1

    def cut(self, first: int, last: int) -> StretchRow:
        """The part with the numbers from ``first`` to ``last``."""
        start, stop = first - self.number, last + 1 - self.number
        ends = read_ends(self.ends)
        before = ends[start - 1] if start else 0
        return self._replace(
            number=first,
            length=stop - start,
            packet_id=self.packet_id + start if self.packet_id else 0,
            ends=write_ends([end - before for end in ends[start:stop]]),
            wire=self.wire[before : ends[stop - 1]],
        )

    def each(self) -> Iterator[tuple[int, int, MessageRow]]:
        """The number, packet identifier (0: it waits) and message of each."""
        start = 0
        for place, end in enumerate(read_ends(self.ends)):
            message = MessageRow(
                self.topic,
                self.flags,
                self.payload_at,
                NEVER,
                self.client,
                self.username,
                self.wire[start:end],
            )
            yield self.number + place, self.packet_id + place if self.packet_id else 0, message
            start = end


class StretchHead(NamedTuple):
    """A stretch without its messages."""

    number: int
    session: int
    length: int
    """How many messages."""
    packet_id: int


class SubscriptionRow(NamedTuple):
    topic_filter: str
    options: int
    """As in SUBSCRIBE."""
    identifier: int


class BanRow(NamedTuple):
    kind: str
    who: str
    facts: str
    """All fields, as JSON."""


@dataclass(slots=True)
class SessionRow:
    number: int
    client: Client
    expiry: float
    """Seconds that the session is kept after its connection; NEVER: for ever."""
    superuser: bool
    connected: bool
    ends_at: float
    """When the session ends; NEVER also while the client is connected."""
    will: Will | None
    will_at: float
    """When the will is due; NEVER while the client is connected, or if the session ends earlier."""

    def facts(self) -> str:
        """All fields except the number and the will, as JSON."""
        client = self.client
        return json.dumps(
            {
                "client_id": client.client_id,
                "username": client.username,
                "version": client.protocol_version,
                "keepalive": client.keepalive,
                "clean_start": client.clean_start,
                "peer": client.peer,
                "listener": client.listener,
                "expiry": self.expiry,
                "superuser": self.superuser,
                "connected": self.connected,
                "ends_at": self.ends_at,
                "will_at": self.will_at,
            }
        )


def session_row(number: int, facts: str, will: bytes) -> SessionRow:
    """Raises ValueError where the facts are none."""
    given = json.loads(facts)
    try:
        client = Client(
            client_id=given["client_id"],
            username=given["username"],
            protocol_version=given["version"],
            keepalive=given["keepalive"],
            clean_start=given["clean_start"],
            peer=given["peer"],
            listener=given["listener"],
        )
        return SessionRow(
            number,
            client,
            given["expiry"],
            given["superuser"],
            given["connected"],
            given["ends_at"],
            read_will(will) if will else None,
            given["will_at"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the session {facts[:100]} is incomplete") from error


def ban_row(ban: Ban) -> BanRow:
    until = NEVER if ban.until == inf else ban.until
    facts = {"reason": ban.reason, "by": ban.by, "at": ban.at, "until": until}
    return BanRow(ban.kind, ban.who, json.dumps(facts))


def ban_of(row: BanRow) -> Ban:
    """Raises ValueError where the facts are none."""
    given = json.loads(row.facts)
    try:
        until = inf if given["until"] == NEVER else float(given["until"])
        return Ban(row.kind, row.who, str(given["reason"]), str(given["by"]), float(given["at"]), until)
    except (KeyError, TypeError) as error:
        raise ValueError(f"the ban {row.facts[:100]} lacks something") from error


def write_will(will: Will | None) -> bytes:
    """Empty without a will."""
    if will is None:
        return b""
    properties = encode_properties(will.properties, PacketType.WILL)
    topic = will.topic.encode()
    return b"".join(
        (bytes((will.qos | will.retain << 2,)), len(topic).to_bytes(2), topic, properties, will.payload)
    )


def read_will(data: bytes) -> Will:
    end = 3 + int.from_bytes(data[1:3])
    properties, at = decode_properties(data, end, len(data), PacketType.WILL)
    return Will(data[3:end].decode(), data[at:], data[0] & 3, bool(data[0] & 4), properties)


def message_row(publish: Publish, epoch: float) -> MessageRow:
    """``epoch``: the time of day minus the monotonic clock of ``publish.expires_at``."""
    properties = publish.properties
    payload_at, wire = publish.payload_at, publish.wire
    if properties is not None and properties.topic_alias is not None:
        # The bytes may have only the alias.
        whole = make_publish(
            publish.topic, publish.payload, qos=publish.qos, properties=forwarded(properties)
        )
        payload_at, wire = whole.payload_at, whole.wire
    source = publish.source
    return MessageRow(
        publish.topic,
        publish.qos | publish.retain << 2 | publish.version << 3,
        payload_at,
        NEVER if publish.expires_at is None else publish.expires_at + epoch,
        None if source is None else source.client_id,
        None if source is None else source.username,
        wire,
    )


def publish_of(row: MessageRow, epoch: float) -> Publish:
    """The message of the row."""
    topic, flags, payload_at, expires_at, client, username, wire = row
    version, qos = flags >> 3, flags & 3
    properties = None
    if version == 5:
        # remaining length, topic, and above QoS 0 the packet identifier come before the properties
        at = 1
        while wire[at] & 0x80:
            at += 1
        at += 1
        at += 2 + int.from_bytes(wire[at : at + 2]) + (2 if qos else 0)
        if wire[at]:
            properties, _ = decode_properties(wire, at, payload_at, PacketType.PUBLISH)
    publish = Publish(topic, qos, bool(flags & 4), False, 0, properties, version, wire, payload_at)
    if expires_at != NEVER:
        publish.expires_at = expires_at - epoch
    if client is not None:
        publish.source = Client(client, username, protocol_version=version)
    return publish


def stretch_row(stretch: Stretch, session: int, packet_id: int) -> StretchRow:
    run, source = stretch.run, stretch.source
    return StretchRow(
        stretch.number,
        session,
        len(run.ends),
        packet_id,
        run.qos | run.version << 3,
        run.payload_at,
        run.topic,
        None if source is None else source.client_id,
        None if source is None else source.username,
        write_ends(run.ends),
        run.wire,
    )


def stretch_of(row: StretchRow) -> Stretch:
    """The messages of the row."""
    version, qos = row.flags >> 3, row.flags & 3
    run = PublishRun(row.topic, qos, version, row.wire, row.payload_at, read_ends(row.ends), [0] * row.length)
    source = None if row.client is None else Client(row.client, row.username, protocol_version=version)
    return Stretch(run, source, row.number)


def write_ends(ends: list[int]) -> bytes:
    return pack(f"<{len(ends)}I", *ends)


def read_ends(data: bytes) -> list[int]:
    return list(unpack(f"<{len(data) // 4}I", data))
