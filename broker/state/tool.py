"""The commands of `pybroker state`. Each function prints, and returns an exit status; all raise
StateError."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from ..packets.model import VERSION_NAMES
from .changes import Changes
from .database import StateDatabase
from .dump import DumpError, dump, read_dump
from .errors import StateBusyError, StateError
from .files import DATABASE, open_state, reported
from .keeper import subscription_of
from .mosquitto import MAGIC, is_mosquittos, read_mosquitto
from .rows import NEVER, RELEASED, WAITS, SessionRow, publish_of

WORDS = {
    "session": "sessions",
    "subscription": "subscriptions",
    "entry": "messages that wait or are in flight",
    "message": "different messages among them",
    "packet": "QoS 2 messages received and not released",
    "retained": "retained messages",
    "ban": "bans",
}
MOST_SHOWN = 100
"""The most messages that are printed of one session."""


def show(directory: Path, client: str | None) -> int:
    with _opened(directory) as database:
        if client is not None:
            return _show_session(database, client)
        for table, count in database.counts().items():
            print(f"{count:>12,}  {WORDS[table]}")
        print(f"{database.size():>12,}  bytes of {DATABASE}")
        if alive := database.alive():
            print(f"as of {_moment(alive)}")
    return 0


def export(directory: Path, file: str) -> int:
    with _opened(directory) as database:
        with _text_file(file, "x", sys.stdout) as out:
            count = 0
            for line in dump(database):
                out.write(line + "\n")
                count += 1
        print(f"{count - 1} rows written", file=sys.stderr)
    return 0


def bring_in(directory: Path, file: str) -> int:
    """Import everything or nothing."""
    opened = open_state(directory)
    try:
        with reported(directory):
            database = opened.database
            taken = {session.client.client_id for session in database.sessions()}
            left_out: Counter[str] = Counter()
            try:
                with _changes_of(file, database, taken, left_out) as parts, database.transaction():
                    for changes in parts:
                        database.write(changes)
            except DumpError as error:
                raise StateError(f"{file}: {error}; nothing was imported") from None
            counts = database.counts()
    finally:
        opened.close()
    print(", ".join(f"{counts[table]} {WORDS[table]}" for table in ("session", "entry", "retained")))
    for what, count in left_out.items():
        print(f"not imported: {count} {what}", file=sys.stderr)
    return 0


def verify(directory: Path) -> int:
    with _opened(directory) as database:
        faults = database.faults()
        unreadable: Counter[str] = Counter()
        for entry, message in database.in_order():
            try:
                publish_of(message, 0.0)
            except Exception:
                unreadable[f"messages of session {entry.session} cannot be read"] += 1
        for message in database.retained():
            try:
                publish_of(message, 0.0)
            except Exception:
                unreadable["retained messages cannot be read"] += 1
        for _ in database.sessions():
            pass
    faults += [f"{count} {what}" for what, count in unreadable.items()]
    for fault in faults:
        print(fault)
    if not faults:
        print("no faults found")
    return 1 if faults else 0


@contextmanager
def _changes_of(
    file: str, database: StateDatabase, taken: set[str], left_out: Counter[str]
) -> Iterator[Iterator[Changes]]:
    """A dump of ours, or the database of mosquitto."""
    if file != "-" and is_mosquittos(_start(Path(file))):
        yield read_mosquitto(Path(file).read_bytes(), database, taken, left_out)
        return
    with _text_file(file, "r", sys.stdin) as lines:
        yield read_dump(lines, database, taken)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(MAGIC))


@contextmanager
def _text_file(name: str, mode: str, standard: IO[str]) -> Iterator[IO[str]]:
    """Open a text file; the name - means standard input or output."""
    if name == "-":
        yield standard
        return
    with open(name, mode, encoding="utf-8") as file:  # noqa: PTH123 - mode is a variable
        yield file


@contextmanager
def _opened(directory: Path) -> Iterator[StateDatabase]:
    """Open the database. It includes the journal of a killed broker; of a running broker it is as of the last
    commit."""
    if not (directory / DATABASE).exists():
        raise StateError(f"{directory}: there is no {DATABASE}")
    try:
        opened = open_state(directory)
    except StateBusyError:
        with reported(directory):
            database = StateDatabase(directory / DATABASE, create=False)
            try:
                yield database
            finally:
                database.close()
        return
    try:
        if opened.damaged:
            print(f"{opened.damaged} places of the journal are damaged", file=sys.stderr)
        with reported(directory):
            yield opened.database
    finally:
        opened.close()


def _show_session(database: StateDatabase, client: str) -> int:
    session = next((one for one in database.sessions() if one.client.client_id == client), None)
    if session is None:
        print(f"pybroker: there is no session of {client}", file=sys.stderr)
        return 1
    for name, value in _facts(session):
        print(f"{name:<14}{value}")
    for number, row in database.subscriptions():
        if number == session.number:
            subscription = subscription_of(row)
            print(f"subscription  {subscription.topic_filter}, QoS {subscription.qos}")
    shown = 0
    for entry, message in database.in_order():
        if entry.session != session.number:
            continue
        shown += 1
        if shown > MOST_SHOWN:
            print("...")
            break
        state = "waits" if entry.state == WAITS else "released" if entry.state == RELEASED else "sent"
        publish = publish_of(message, 0.0)
        size = len(publish.wire) - publish.payload_at
        print(f"{state:<14}{publish.topic}, QoS {entry.flags & 3}, {size} bytes")
    return 0


def _facts(session: SessionRow) -> Iterator[tuple[str, str]]:
    client = session.client
    yield "client", client.client_id
    if client.username is not None:
        yield "user", client.username
    version = VERSION_NAMES.get(client.protocol_version, str(client.protocol_version))
    yield "MQTT", version
    yield "address", client.peer or "none yet"
    if session.connected:
        yield "connected", "yes"
    elif session.ends_at != NEVER:
        yield "ends", _moment(session.ends_at)
    if session.will is not None:
        when = f" at {_moment(session.will_at)}" if session.will_at != NEVER else ""
        yield "will", f"{session.will.topic}{when}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
