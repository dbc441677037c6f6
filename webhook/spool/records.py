"""The records of the spool's journal: an event that waits, and the number of one that no longer waits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from struct import Struct

from ..parcels import Delivery

_PUT = Struct("<BQdiiiii")  # kind, seq, at, lengths: id, event, topic (-1 for none), client, headers
_DONE = Struct("<BQ")  # kind, seq
_IS_PUT, _IS_DONE = 1, 2


def put(delivery: Delivery) -> bytes:
    """``delivery`` waits."""
    id, event, client = delivery.id.encode(), delivery.event.encode(), delivery.client.encode()
    topic = None if delivery.topic is None else delivery.topic.encode()
    headers = json.dumps(delivery.headers).encode() if delivery.headers else b""
    head = _PUT.pack(
        _IS_PUT,
        delivery.seq,
        delivery.at,
        len(id),
        len(event),
        -1 if topic is None else len(topic),
        len(client),
        len(headers),
    )
    return b"".join((head, id, event, topic or b"", client, headers, delivery.body))


def done(delivery: Delivery) -> bytes:
    """``delivery`` waits no longer."""
    return _DONE.pack(_IS_DONE, delivery.seq)


def read(records: Iterable[bytes]) -> tuple[list[Delivery], set[int]]:
    """The events that were put, in the order of ``records``, and the numbers of those that are done."""
    puts: list[Delivery] = []
    gone: set[int] = set()
    for record in records:
        if record[0] == _IS_PUT:
            puts.append(_read_put(record))
        else:
            gone.add(_DONE.unpack(record)[1])
    return puts, gone


def _read_put(record: bytes) -> Delivery:
    _, seq, at, *lengths = _PUT.unpack_from(record)
    position = _PUT.size
    texts: list[str | None] = []
    for length in lengths:
        texts.append(None if length < 0 else record[position : position + length].decode())
        position += max(length, 0)
    id, event, topic, client, headers = texts
    pairs = tuple((name, value) for name, value in json.loads(headers)) if headers else ()
    return Delivery(seq, id or "", at, event or "", topic, client or "", pairs, record[position:])
