"""The records of the journal: the changes that one flush of the engine made, all of them or none."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from .changes import Changes
from .rows import (
    BanRow,
    EntryRow,
    MessageRow,
    SessionRow,
    StretchRow,
    SubscriptionRow,
    session_row,
    write_will,
)

_SESSION = Struct("<BIII")  # kind, number, lengths of facts and will
_ENDED = Struct("<BI")
_SUBSCRIBED = Struct("<BIBIH")  # kind, session, options, identifier, length of the filter
_UNSUBSCRIBED = Struct("<BIH")
_MESSAGE = Struct("<BQBIdHIII")
# kind, number, flags, payload_at, expires_at, lengths of topic, client, user name (NONE: there is none), wire
_UNRETAINED = Struct("<BH")
_ENTRY = Struct("<BQIQBHBHH")
# kind, number, session, message, flags, packet identifier, state, lengths of identifiers and share
_SENT = Struct("<BQH")
_NUMBER = Struct("<BQ")
_STRETCH = Struct("<BQIIHBIHIII")
# kind, number, session, count, packet identifier, flags, payload_at, lengths of topic, client, user name
# (NONE: there is none), wire
_SENT_ALL = Struct("<BQIH")  # kind, number, count, packet identifier
_DONE_ALL = Struct("<BQI")
_PACKET = Struct("<BIH")  # kind, session, packet identifier
_BAN = Struct("<BHII")  # kind of record; lengths of kind, name and facts
_AT = Struct("<d")
NONE = 0xFFFF_FFFF

(
    IS_SESSION,
    IS_ENDED,
    IS_SUBSCRIBED,
    IS_UNSUBSCRIBED,
    IS_MESSAGE,
    IS_RETAINED,
    IS_UNRETAINED,
    IS_ENTRY,
    IS_SENT,
    IS_RELEASED,
    IS_DONE,
    IS_RECEIVED,
    IS_FORGOTTEN,
    IS_STRETCH,
    IS_SENT_ALL,
    IS_DONE_ALL,
    IS_BAN,
    IS_LIFTED,
) = range(1, 19)

pack_sent: Callable[..., bytes] = _SENT.pack
pack_number: Callable[..., bytes] = _NUMBER.pack
pack_packet: Callable[..., bytes] = _PACKET.pack
pack_sent_all: Callable[..., bytes] = _SENT_ALL.pack
pack_done_all: Callable[..., bytes] = _DONE_ALL.pack


def session(row: SessionRow) -> bytes:
    facts, will = row.facts().encode(), write_will(row.will)
    return _SESSION.pack(IS_SESSION, row.number, len(facts), len(will)) + facts + will


def ended(number: int) -> bytes:
    return _ENDED.pack(IS_ENDED, number)


def subscribed(session: int, row: SubscriptionRow) -> bytes:
    text = row.topic_filter.encode()
    return _SUBSCRIBED.pack(IS_SUBSCRIBED, session, row.options, row.identifier, len(text)) + text


def unsubscribed(session: int, topic_filter: str) -> bytes:
    text = topic_filter.encode()
    return _UNSUBSCRIBED.pack(IS_UNSUBSCRIBED, session, len(text)) + text


def message(number: int, row: MessageRow) -> bytes:
    return _message(IS_MESSAGE, number, row)


def retained(row: MessageRow) -> bytes:
    return _message(IS_RETAINED, 0, row)


def unretained(topic: str) -> bytes:
    text = topic.encode()
    return _UNRETAINED.pack(IS_UNRETAINED, len(text)) + text


def entry(row: EntryRow) -> bytes:
    number, session, message, flags, packet_id, state, identifiers, share = row
    texts = (identifiers + share).encode()
    lengths = len(identifiers), len(texts) - len(identifiers)  # identifiers are ASCII
    return _ENTRY.pack(IS_ENTRY, number, session, message, flags, packet_id, state, *lengths) + texts


def stretch(row: StretchRow) -> bytes:
    topic = row.topic.encode()
    who = b"" if row.client is None else row.client.encode()
    user = b"" if row.username is None else row.username.encode()
    head = _STRETCH.pack(
        IS_STRETCH,
        row.number,
        row.session,
        row.length,
        row.packet_id,
        row.flags,
        row.payload_at,
        len(topic),
        NONE if row.client is None else len(who),
        NONE if row.username is None else len(user),
        len(row.wire),
    )
    return b"".join((head, topic, who, user, row.ends, row.wire))


def ban(row: BanRow) -> bytes:
    texts = [text.encode() for text in row]
    return _BAN.pack(IS_BAN, *map(len, texts)) + b"".join(texts)


def lifted(kind: str, who: str) -> bytes:
    texts = [text.encode() for text in (kind, who, "")]
    return _BAN.pack(IS_LIFTED, *map(len, texts)) + b"".join(texts)


def record(at: float, changes: list[bytes]) -> bytes:
    """Make one record. ``at`` is the time in seconds since the epoch."""
    return b"".join((_AT.pack(at), *changes))


def read(data: bytes, changes: Changes) -> float:
    """Add the changes of a record to ``changes``. Returns the time when it was written. Raises ValueError if
    it is not a valid record."""
    try:
        at: float = _AT.unpack_from(data)[0]
        position = _AT.size
        while position < len(data):
            position = _READERS[data[position]](data, position, changes)
    except (KeyError, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise ValueError("the record is not of this format") from error
    except Exception as error:  # struct.error, and what malformed properties bring about
        raise ValueError(str(error)) from error
    return at


def _message(kind: int, number: int, row: MessageRow) -> bytes:
    topic_text, flags, payload_at, expires_at, client, username, wire = row
    topic = topic_text.encode()
    who = b"" if client is None else client.encode()
    user = b"" if username is None else username.encode()
    return b"".join(
        (
            _MESSAGE.pack(
                kind,
                number,
                flags,
                payload_at,
                expires_at,
                len(topic),
                NONE if client is None else len(who),
                NONE if username is None else len(user),
                len(wire),
            ),
            topic,
            who,
            user,
            wire,
        )
    )


def _read_session(data: bytes, at: int, changes: Changes) -> int:
    _, number, facts, will = _SESSION.unpack_from(data, at)
    at += _SESSION.size
    end = at + facts
    changes.session(session_row(number, data[at:end].decode(), data[end : end + will]))
    return int(end + will)


def _read_ended(data: bytes, at: int, changes: Changes) -> int:
    changes.session_ended(_ENDED.unpack_from(data, at)[1])
    return at + _ENDED.size


def _read_subscribed(data: bytes, at: int, changes: Changes) -> int:
    _, session, options, identifier, length = _SUBSCRIBED.unpack_from(data, at)
    at += _SUBSCRIBED.size
    row = SubscriptionRow(data[at : at + length].decode(), options, identifier)
    changes.subscribed(session, row)
    return int(at + length)


def _read_unsubscribed(data: bytes, at: int, changes: Changes) -> int:
    _, session, length = _UNSUBSCRIBED.unpack_from(data, at)
    at += _UNSUBSCRIBED.size
    changes.unsubscribed(session, data[at : at + length].decode())
    return int(at + length)


def _read_message(data: bytes, at: int, changes: Changes) -> int:
    number, row, end = _unpack_message(data, at)
    changes.message(number, row)
    return end


def _read_retained(data: bytes, at: int, changes: Changes) -> int:
    _, row, end = _unpack_message(data, at)
    changes.retained(row.topic, row)
    return end


def _read_unretained(data: bytes, at: int, changes: Changes) -> int:
    _, length = _UNRETAINED.unpack_from(data, at)
    at += _UNRETAINED.size
    changes.retained(data[at : at + length].decode(), None)
    return int(at + length)


def _read_entry(data: bytes, at: int, changes: Changes) -> int:
    _, number, session, message, flags, packet_id, state, first, second = _ENTRY.unpack_from(data, at)
    at += _ENTRY.size
    identifiers, share = data[at : at + first].decode(), data[at + first : at + first + second].decode()
    changes.entry(EntryRow(number, session, message, flags, packet_id, state, identifiers, share))
    return int(at + first + second)


def _read_sent(data: bytes, at: int, changes: Changes) -> int:
    _, number, packet_id = _SENT.unpack_from(data, at)
    changes.sent(number, packet_id)
    return at + _SENT.size


def _read_released(data: bytes, at: int, changes: Changes) -> int:
    changes.released(_NUMBER.unpack_from(data, at)[1])
    return at + _NUMBER.size


def _read_done(data: bytes, at: int, changes: Changes) -> int:
    changes.done((_NUMBER.unpack_from(data, at)[1],))
    return at + _NUMBER.size


def _read_stretch(data: bytes, at: int, changes: Changes) -> int:
    _, number, session, count, packet_id, flags, payload_at, *lengths, size = _STRETCH.unpack_from(data, at)
    (topic, client, username), at = _read_texts(data, at + _STRETCH.size, lengths)
    end = at + 4 * count
    if end + size > len(data):
        raise ValueError("a stretch is cut off")
    row = StretchRow(
        number,
        session,
        count,
        packet_id,
        flags,
        payload_at,
        topic or "",
        client,
        username,
        data[at:end],
        data[end : end + size],
    )
    changes.stretch(row)
    return int(end + size)


def _read_sent_all(data: bytes, at: int, changes: Changes) -> int:
    _, number, count, packet_id = _SENT_ALL.unpack_from(data, at)
    changes.sent_all(number, count, packet_id)
    return at + _SENT_ALL.size


def _read_done_all(data: bytes, at: int, changes: Changes) -> int:
    _, number, count = _DONE_ALL.unpack_from(data, at)
    changes.done(range(number, number + count))
    return at + _DONE_ALL.size


def _read_received(data: bytes, at: int, changes: Changes) -> int:
    _, session, packet_id = _PACKET.unpack_from(data, at)
    changes.received(session, packet_id)
    return at + _PACKET.size


def _read_forgotten(data: bytes, at: int, changes: Changes) -> int:
    _, session, packet_id = _PACKET.unpack_from(data, at)
    changes.forgotten(session, packet_id)
    return at + _PACKET.size


def _read_ban(data: bytes, at: int, changes: Changes) -> int:
    what, *lengths = _BAN.unpack_from(data, at)
    (kind, who, facts), at = _read_texts(data, at + _BAN.size, lengths)
    assert kind is not None
    assert who is not None
    changes.ban(kind, who, BanRow(kind, who, facts or "") if what == IS_BAN else None)
    return at


def _unpack_message(data: bytes, at: int) -> tuple[int, MessageRow, int]:
    _, number, flags, payload_at, expires_at, *lengths, size = _MESSAGE.unpack_from(data, at)
    (topic, client, username), at = _read_texts(data, at + _MESSAGE.size, lengths)
    end = at + size
    if end > len(data):
        raise ValueError("a message is cut off")
    row = MessageRow(topic or "", flags, payload_at, expires_at, client, username, data[at:end])
    return number, row, end


def _read_texts(data: bytes, at: int, lengths: list[int]) -> tuple[list[str | None], int]:
    """Texts of these lengths, and the position after them."""
    texts: list[str | None] = []
    for length in lengths:
        texts.append(None if length == NONE else data[at : at + length].decode())
        at += 0 if length == NONE else length
    return texts, at


_READERS: dict[int, Callable[[bytes, int, Changes], int]] = {
    IS_SESSION: _read_session,
    IS_ENDED: _read_ended,
    IS_SUBSCRIBED: _read_subscribed,
    IS_UNSUBSCRIBED: _read_unsubscribed,
    IS_MESSAGE: _read_message,
    IS_RETAINED: _read_retained,
    IS_UNRETAINED: _read_unretained,
    IS_ENTRY: _read_entry,
    IS_SENT: _read_sent,
    IS_RELEASED: _read_released,
    IS_DONE: _read_done,
    IS_RECEIVED: _read_received,
    IS_FORGOTTEN: _read_forgotten,
    IS_STRETCH: _read_stretch,
    IS_SENT_ALL: _read_sent_all,
    IS_DONE_ALL: _read_done_all,
    IS_BAN: _read_ban,
    IS_LIFTED: _read_ban,
}
