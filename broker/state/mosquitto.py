"""The database of mosquitto, `persistence true`, as changes to ours.

Versions 5 and 6 of the file, which mosquitto 1.6 to 2.0 write: 15 bytes that say what it is, a CRC that is
always 0, the version; then chunks of a type, a length and that many bytes. Lengths and packet identifiers are
big-endian; numbers of messages and moments are as the machine has them, which is taken to be little-endian
(persist.h and persist_write_v5.c of mosquitto).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct

from ..events import Client
from ..packets.encoder import make_publish
from ..packets.packet_type import PacketType
from ..packets.properties import Properties, decode_properties
from .changes import Changes
from .database import StateDatabase
from .dump import DumpError
from .rows import (
    NEVER,
    RELEASED,
    SENT,
    WAITS,
    EntryRow,
    MessageRow,
    SessionRow,
    SubscriptionRow,
    message_row,
)

MAGIC = b"\x00\xb5\x00mosquitto db"
VERSIONS = (5, 6)

_HEAD = Struct(">II")  # CRC and version; the same layout: type and length of a chunk
_NUMBER = Struct("<Q")
_CLIENT_5 = Struct(">8s I 2x H")  # end, expiry interval, length of the client identifier
_CLIENT_6 = Struct(">8s I 2x H 2x H 4x")  # and of the user name
_MESSAGE = Struct(">8s 8s I 2x H H H 2x B B")
# number, expiry, lengths of payload, client identifier, user name and topic, QoS, retain
_WAITING = Struct(">8s H H B B B B")
# number, packet identifier, length of the client identifier, QoS, state, retain and DUP, direction
_SUBSCRIPTION = Struct(">I H H B B 2x")  # identifier, lengths of client identifier and filter, QoS, options

(_CONFIGURED, _IS_MESSAGE, _IS_WAITING, _IS_RETAINED, _IS_SUBSCRIPTION, _IS_CLIENT) = range(1, 7)
_QUEUED, _PUBREL_SENT = 11, (6, 9)
"""States of a message; the others of QoS 1 and 2 are: sent, and not acknowledged."""
_FOR_EVER = 0xFFFF_FFFF


def is_mosquittos(start: bytes) -> bool:
    """Whether a file with this beginning is a database of mosquitto."""
    return start.startswith(MAGIC)


@dataclass(slots=True)
class _Found:
    """The file, in the order of its chunks."""

    messages: dict[int, MessageRow] = field(default_factory=dict)
    sessions: dict[str, SessionRow] = field(default_factory=dict)
    subscriptions: list[tuple[str, SubscriptionRow]] = field(default_factory=list)
    waiting: list[tuple[str, EntryRow]] = field(default_factory=list)
    retained: list[int] = field(default_factory=list)


def read_mosquitto(
    data: bytes, database: StateDatabase, taken: set[str], left_out: Counter[str]
) -> Iterator[Changes]:
    """The changes that bring the contents of the file into the database. ``left_out`` counts what cannot be
    imported. Raises DumpError; also if a session is one of ``taken``."""
    found = _read(data, left_out)
    first = {table: database.highest(table) + 1 for table in ("session", "message", "entry")}
    numbers = {client: number for number, client in enumerate(found.sessions, first["session"])}
    both = taken & numbers.keys()
    if both:
        raise DumpError(f"the client {min(both)} has a session already")
    changes = Changes()
    for client, session in found.sessions.items():
        session.number = numbers[client]
        changes.session(session)
    for client, subscription in found.subscriptions:
        if client in numbers:
            changes.subscribed(numbers[client], subscription)
    message_numbers: dict[int, int] = {}
    for entry_number, (client, entry) in enumerate(found.waiting, first["entry"]):
        if client not in numbers or entry.message not in found.messages:
            left_out["messages of no session"] += 1
            continue
        number = message_numbers.setdefault(entry.message, first["message"] + len(message_numbers))
        changes.message(number, found.messages[entry.message])
        changes.entry(entry._replace(number=entry_number, session=numbers[client], message=number))
    for stored in found.retained:
        if (message := found.messages.get(stored)) is not None and not message.topic.startswith("$SYS/"):
            changes.retained(message.topic, message._replace(flags=message.flags | 4))
    yield changes


def _read(data: bytes, left_out: Counter[str]) -> _Found:
    at = len(MAGIC) + _HEAD.size
    if len(data) < at:
        raise DumpError("the database of mosquitto is cut off")
    _, version = _HEAD.unpack_from(data, len(MAGIC))
    if version not in VERSIONS:
        raise DumpError(
            f"the database of mosquitto has version {version}; those that can be read are"
            f" {' and '.join(map(str, VERSIONS))}: mosquitto 1.6 to 2.0"
        )
    found = _Found()
    while at < len(data):
        try:
            kind, length = _HEAD.unpack_from(data, at)
            chunk = data[at + _HEAD.size : at + _HEAD.size + length]
            if len(chunk) < length:
                raise ValueError("it is cut off")
            _take(found, kind, chunk, version, left_out)
        except Exception as error:  # struct.error, and what malformed properties bring about
            raise DumpError(f"the database of mosquitto is damaged at byte {at}: {error}") from error
        at += _HEAD.size + length
    return found


def _take(found: _Found, kind: int, chunk: bytes, version: int, left_out: Counter[str]) -> None:
    if kind == _IS_MESSAGE:
        number, message = _message(chunk)
        found.messages[number] = message
    elif kind == _IS_CLIENT:
        session = _session(chunk, version)
        found.sessions[session.client.client_id] = session
    elif kind == _IS_SUBSCRIPTION:
        identifier, id_length, length, qos, options = _SUBSCRIPTION.unpack_from(chunk)
        (client, topic_filter), _ = _texts(chunk, _SUBSCRIPTION.size, id_length, length)
        row = SubscriptionRow(topic_filter, qos | options & 0x3C, identifier)
        found.subscriptions.append((client, row))
    elif kind == _IS_RETAINED:
        found.retained.append(_NUMBER.unpack_from(chunk)[0])
    elif kind == _IS_WAITING:
        _waiting(found, chunk, left_out)
    elif kind != _CONFIGURED:
        raise ValueError(f"there is no chunk of type {kind}")


def _session(chunk: bytes, version: int) -> SessionRow:
    if version == 5:
        end, interval, *lengths = _CLIENT_5.unpack_from(chunk)
        (client_id,), _ = _texts(chunk, _CLIENT_5.size, *lengths)
        username = ""
    else:
        end, interval, *lengths = _CLIENT_6.unpack_from(chunk)
        (client_id, username), _ = _texts(chunk, _CLIENT_6.size, *lengths)
    ends_at = _moment(end)
    endless = interval == _FOR_EVER
    return SessionRow(
        0,
        Client(client_id, username or None, protocol_version=4 if endless else 5),
        NEVER if endless else float(interval),
        superuser=False,
        # Where mosquitto does not say when it ends, the client was connected: it has left just now.
        connected=not endless and ends_at == NEVER,
        ends_at=NEVER if endless else ends_at,
        will=None,
        will_at=NEVER,
    )


def _message(chunk: bytes) -> tuple[int, MessageRow]:
    number, expiry, length, *lengths, qos, retain = _MESSAGE.unpack_from(chunk)
    (client, username, topic), at = _texts(chunk, _MESSAGE.size, *lengths)
    payload = chunk[at : at + length]
    properties = _properties(chunk, at + length)
    row = message_row(
        make_publish(topic, payload, qos=qos, retain=bool(retain), properties=properties), epoch=0.0
    )
    row = row._replace(expires_at=_moment(expiry), client=client or None, username=username or None)
    return _NUMBER.unpack(number)[0], row


def _waiting(found: _Found, chunk: bytes, left_out: Counter[str]) -> None:
    stored, packet_id, length, qos, state, retain_dup, outwards = _WAITING.unpack_from(chunk)
    (client,), at = _texts(chunk, _WAITING.size, length)
    if not outwards:
        left_out["QoS 2 messages whose publisher has not released them"] += 1
        return
    if not qos:
        return
    properties = _properties(chunk, at)
    identifiers = properties.subscription_identifiers if properties else ()
    now = WAITS if state == _QUEUED or not packet_id else RELEASED if state in _PUBREL_SENT else SENT
    entry = EntryRow(
        0,
        0,
        _NUMBER.unpack(stored)[0],
        qos | (4 if retain_dup >> 4 else 0),
        0 if now == WAITS else packet_id,
        now,
        ",".join(map(str, identifiers)),
        "",
    )
    found.waiting.append((client, entry))


def _texts(chunk: bytes, at: int, *lengths: int) -> tuple[list[str], int]:
    """Texts of these lengths, and the position after them."""
    texts: list[str] = []
    for length in lengths:
        texts.append(chunk[at : at + length].decode())
        at += length
    return texts, at


def _properties(chunk: bytes, at: int) -> Properties | None:
    if at >= len(chunk):
        return None
    properties, _ = decode_properties(chunk, at, len(chunk), PacketType.PUBLISH)
    return properties


def _moment(data: bytes) -> float:
    moment = int.from_bytes(data, "little", signed=True)
    return float(moment) if moment > 0 else NEVER
