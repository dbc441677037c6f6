"""The records of a batch: a kind, a length, and a body each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple
from math import inf
from struct import Struct, error
from typing import Any

from ..events import Client
from ..packets.decoder import Decoder
from ..packets.model import Publish
from ..packets.topic_cache import TopicCache
from .moves import Kind, Message

(
    PACKETS_3,  # PUBLISH packets as 3.1 and 3.1.1 lay them out
    PACKETS_5,
    SOURCE,
    GROUP_3,
    GROUP_5,
    RETAINED,
    UNRETAINED,
    ALL_RETAINED,
    SUBSCRIBED,
    UNSUBSCRIBED,
    ALL_ROUTES,
    MEMBERS,
    NUMBERS,
    SAID,
    MOVE,
) = range(1, 16)

_HEAD = Struct("<BI")
_TEXT = Struct("<I")
_RETAINED = Struct("<16sBdII")  # stamp, layout, expiry by the clock on the wall, lengths of topic and source
_MEMBERS = Struct("<III")  # length of the filter, members that are connected, and that are away
_STAMP_SIZE = 16
_MOVE = Struct("<B?QI")  # kind, last, epoch, length of client identifier and nodes, with zeros between them


class RecordError(Exception):
    """What came is no record."""


def pack(kind: int, body: bytes) -> bytes:
    return _HEAD.pack(kind, len(body)) + body


def unpack(batch: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each record. Raises RecordError."""
    at = 0
    while at < len(batch):
        try:
            kind, length = _HEAD.unpack_from(batch, at)
        except error as cut:
            raise RecordError("a record is cut off") from cut
        at += _HEAD.size
        if at + length > len(batch):
            raise RecordError("a record is cut off")
        yield kind, batch[at : at + length]
        at += length


def packets(layout: int, data: bytes) -> bytes:
    return pack(PACKETS_5 if layout == 5 else PACKETS_3, data)


def source(client: Client | None) -> bytes:
    return pack(SOURCE, _client(client))


def read_source(body: bytes) -> Client | None:
    return Client(*json.loads(body)) if body else None


def group(topic_filter: str, layout: int, packet: bytes) -> bytes:
    text = topic_filter.encode()
    return pack(GROUP_5 if layout == 5 else GROUP_3, _TEXT.pack(len(text)) + text + packet)


def read_group(body: bytes) -> tuple[str, bytes]:
    """Topic filter and packet."""
    (length,) = _TEXT.unpack_from(body)
    end = _TEXT.size + length
    return body[_TEXT.size : end].decode(), body[end:]


def retained(publish: Publish, packet: bytes, stamp: int, epoch: float) -> bytes:
    """``epoch`` is what the time is more than the monotonic clock."""
    expires = inf if publish.expires_at is None else publish.expires_at + epoch
    topic, who = publish.topic.encode(), _client(publish.source)
    head = _RETAINED.pack(
        stamp.to_bytes(_STAMP_SIZE), 5 if publish.version == 5 else 4, expires, len(topic), len(who)
    )
    return pack(RETAINED, b"".join((head, topic, who, packet)))


def read_retained(body: bytes, epoch: float) -> tuple[int, Publish]:
    """Stamp and message."""
    stamp, layout, expires, length, who = _RETAINED.unpack_from(body)
    at = _RETAINED.size + length
    publish = read_packet(body[at + who :], layout)
    publish.source = read_source(body[at : at + who])
    publish.expires_at = None if expires == inf else expires - epoch
    return int.from_bytes(stamp), publish


def unretained(topic: str, stamp: int) -> bytes:
    return pack(UNRETAINED, stamp.to_bytes(_STAMP_SIZE) + topic.encode())


def read_unretained(body: bytes) -> tuple[int, str]:
    """Stamp and topic."""
    return int.from_bytes(body[:_STAMP_SIZE]), body[_STAMP_SIZE:].decode()


def members(topic_filter: str, connected: int, away: int) -> bytes:
    text = topic_filter.encode()
    return pack(MEMBERS, _MEMBERS.pack(len(text), connected, away) + text)


def read_members(body: bytes) -> tuple[str, int, int]:
    """Topic filter, and how many members are connected and away."""
    length, connected, away = _MEMBERS.unpack_from(body)
    return body[_MEMBERS.size : _MEMBERS.size + length].decode(), connected, away


def numbers(values: dict[str, Any]) -> bytes:
    return pack(NUMBERS, json.dumps(values).encode())


def read_numbers(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)
    return found


def messages(batch: bytes) -> Iterator[int]:
    """How many messages there are in each record that has some."""
    for kind, body in unpack(batch):
        if kind in (PACKETS_3, PACKETS_5):
            yield len(reader(5 if kind == PACKETS_5 else 4).feed(body))
        elif kind in (GROUP_3, GROUP_5):
            yield 1


def said(matter: str, value: Any) -> bytes:
    return pack(SAID, json.dumps([matter, value]).encode())


def read_said(body: bytes) -> tuple[str, Any]:
    """The name of the matter, and what is said about it."""
    matter, value = json.loads(body)
    return matter, value


def move(message: Message) -> bytes:
    texts = "\0".join((message.client_id, *message.nodes)).encode()
    head = _MOVE.pack(message.kind, message.last, message.epoch, len(texts))
    return pack(MOVE, b"".join((head, texts, message.data)))


def read_move(body: bytes) -> Message:
    kind, last, epoch, length = _MOVE.unpack_from(body)
    end = _MOVE.size + length
    client_id, *nodes = body[_MOVE.size : end].decode().split("\0")
    return Message(Kind(kind), client_id, epoch, last, tuple(nodes), body[end:])


def read_packet(data: bytes, layout: int) -> Publish:
    """The one PUBLISH packet in ``data``. Raises RecordError."""
    decoder = reader(layout)
    found = decoder.feed(data)
    if len(found) != 1 or not isinstance(found[0], Publish):
        raise RecordError("a record has no PUBLISH packet")
    return found[0]


def reader(layout: int, topics: TopicCache | None = None) -> Decoder:
    """Reads PUBLISH packets of a neighbour, which has checked them."""
    decoder = Decoder(1 << 30, topics)
    decoder.version = 5 if layout == 5 else 4
    return decoder


def _client(client: Client | None) -> bytes:
    return b"" if client is None else json.dumps(astuple(client)).encode()
