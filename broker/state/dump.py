"""The state as JSON lines, one row each, for other programs and other versions.

The first line names the format. Bytes are base64, moments seconds since the epoch.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from typing import Any

from .changes import Changes
from .database import StateDatabase
from .rows import BanRow, EntryRow, MessageRow, SubscriptionRow, ban_of, ban_row, session_row, write_will

FORMAT = "pybroker state"
VERSION = 1


class DumpError(ValueError):
    """A line cannot be read; the message says which and why."""


def dump(database: StateDatabase) -> Iterator[str]:
    """Sessions first, then their subscriptions and messages, then retained messages."""
    yield _line(FORMAT, version=VERSION)
    for session in database.sessions():
        will = _text(write_will(session.will))
        yield _line("session", number=session.number, facts=session.facts(), will=will)
    for number, subscription in database.subscriptions():
        yield _line("subscription", session=number, **subscription._asdict())
    last = 0
    for entry, message in database.in_order():
        if entry.message != last:
            yield _line("message", number=entry.message, **_message(message))
            last = entry.message
        yield _line("entry", **entry._asdict())
    for number, packet_id in database.packets():
        yield _line("received", session=number, packet_id=packet_id)
    for message in database.retained():
        yield _line("retained", **_message(message))
    for ban in database.bans():
        yield _line("ban", who=ban.who, **{"as": ban.kind}, facts=ban.facts)


def read_dump(lines: Iterable[str], database: StateDatabase, taken: set[str]) -> Iterator[Changes]:
    """What has to be committed so that the database has what ``lines`` tell, a part at a time. Numbers are
    given anew. Raises DumpError; also where a session is one of ``taken``, the clients that have one."""
    base = {table: database.highest(table) for table in ("session", "message", "entry")}
    changes, count = Changes(), 0
    for position, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            kind = row.pop("kind")
            if position == 1:
                if kind != FORMAT or row["version"] > VERSION:
                    raise DumpError(
                        "this is not a dump of pybroker's state, or not one that this version can read"
                    )
                continue
            _take(changes, kind, row, base, taken)
        except DumpError as error:
            raise DumpError(f"line {position}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DumpError(f"line {position} cannot be read: {error!r}") from error
        count += 1
        if count >= 5000 and kind != "message":  # a message goes with the first that waits for it
            yield changes
            changes, count = Changes(), 0
    yield changes


def _take(changes: Changes, kind: str, row: dict[str, Any], base: dict[str, int], taken: set[str]) -> None:
    match kind:
        case "session":
            session = session_row(base["session"] + row["number"], row["facts"], b64decode(row["will"]))
            if session.client.client_id in taken:
                raise DumpError(f"the client {session.client.client_id} has a session already")
            session.connected = False
            changes.session(session)
        case "subscription":
            number = base["session"] + row.pop("session")
            changes.subscribed(number, SubscriptionRow(**row))
        case "message":
            changes.message(base["message"] + row["number"], _message_row(row))
        case "entry":
            entry = EntryRow(**row)
            changes.entry(
                entry._replace(
                    number=base["entry"] + entry.number,
                    session=base["session"] + entry.session,
                    message=base["message"] + entry.message,
                )
            )
        case "received":
            changes.received(base["session"] + row["session"], row["packet_id"])
        case "retained":
            message = _message_row(row)
            changes.retained(message.topic, message)
        case "ban":
            ban = ban_row(ban_of(BanRow(row["as"], row["who"], row["facts"])))
            changes.ban(ban.kind, ban.who, ban)
        case _:
            raise DumpError(f"there is no {kind!r}")


def _line(kind: str, **values: object) -> str:
    return json.dumps({"kind": kind, **values}, ensure_ascii=False)


def _message(row: MessageRow) -> dict[str, object]:
    return {**row._asdict(), "wire": _text(row.wire)}


def _message_row(row: dict[str, Any]) -> MessageRow:
    return MessageRow(
        row["topic"],
        row["flags"],
        row["payload_at"],
        row["expires_at"],
        row["client"],
        row["username"],
        b64decode(row["wire"]),
    )


def _text(data: bytes) -> str:
    return b64encode(data).decode()
