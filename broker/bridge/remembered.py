"""What bridges know over a restart, in a file beside the state of `sqlite {}`: the name of this broker in the
path of messages, and the topic filters that each remote broker may have for a bridge."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

log = logging.getLogger("pybroker.bridge")

FILE = "bridges.json"
MOST_FILTERS = 10_000
"""Topic filters of one session that are written down; a session with more is left out."""


@dataclass(slots=True)
class RemoteSessions:
    """The sessions that one bridge may have."""

    clientid: str
    filters: dict[str, set[str]] = field(default_factory=dict)
    """The topic filters, by the URL of the server."""


class Remembered:
    """In memory alone until :meth:`open`."""

    def __init__(self) -> None:
        self.broker_id = token_hex(4)
        self._sessions: dict[str, RemoteSessions] = {}
        """By the name of the bridge."""
        self._path: Path | None = None
        self._written = ""

    def open(self, directory: Path, names: Iterable[str]) -> None:
        """Read the file, and keep it up to date from now on. ``names``: the bridges that there still are."""
        self._path = directory / FILE
        try:
            self._read(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("%s cannot be used and is written anew: %s", self._path, error)
        for name in self._sessions.keys() - set(names):
            sessions = self._sessions.pop(name)
            for server in sessions.filters:
                log.warning(
                    "bridge %s is no longer configured: its session at %s, with the client identifier %s,"
                    " may still be there",
                    name,
                    server,
                    sessions.clientid,
                )
        self.save()

    def of(self, name: str, clientid: str, server: str) -> set[str]:
        """The topic filters that the session may have, to be kept up to date by the caller, who then calls
        :meth:`save`."""
        sessions = self._sessions.get(name)
        if sessions is None or sessions.clientid != clientid:
            sessions = self._sessions[name] = RemoteSessions(clientid)
        return sessions.filters.setdefault(server, set())

    def servers_of(self, name: str) -> set[str]:
        """Where the bridge may have a session."""
        sessions = self._sessions.get(name)
        return set(sessions.filters) if sessions is not None else set()

    def forget(self, name: str, clientid: str) -> None:
        """The bridge is removed, or has another client identifier now."""
        sessions = self._sessions.get(name)
        if sessions is not None and sessions.clientid == clientid:
            del self._sessions[name]
        self.save()

    def save(self) -> None:
        """Write the file, if anything has changed."""
        if self._path is None:
            return
        text = json.dumps({"broker": self.broker_id, "bridges": dict(self._rows())}, indent=1)
        if text == self._written:
            return
        new = self._path.with_suffix(".new")
        try:
            new.write_text(text, encoding="utf-8")
            new.replace(self._path)
            self._written = text
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error.strerror)
            with suppress(OSError):
                new.unlink(missing_ok=True)

    def _read(self, found: dict[str, Any]) -> None:
        if re.fullmatch("[0-9a-f]{8}", found["broker"]):
            self.broker_id = found["broker"]
        for name, row in found["bridges"].items():
            filters = {str(server): {str(one) for one in these} for server, these in row["servers"].items()}
            self._sessions[str(name)] = RemoteSessions(str(row["clientid"]), filters)

    def _rows(self) -> Iterable[tuple[str, Any]]:
        for name, sessions in self._sessions.items():
            servers = {
                server: sorted(filters)
                for server, filters in sessions.filters.items()
                if len(filters) <= MOST_FILTERS
            }
            yield name, {"clientid": sessions.clientid, "servers": servers}
