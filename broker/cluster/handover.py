"""Passes clients' sockets from process to process, over unix sockets."""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Any

AGAIN = 0.02
"""Seconds until a process that was not there is looked for again."""
MOST_SOCKETS = 64
"""That come with one read."""
_LENGTHS = Struct("<II")

Take = Callable[[socket.socket, dict[str, Any], bytes], None]
"""Serves a connection: the socket, what is known of it, and what has come already."""


class _Item:
    """One connection on its way."""

    __slots__ = ("connection", "data", "due", "failed", "sent")

    def __init__(
        self, connection: socket.socket, data: bytes, due: float, failed: Callable[[], None]
    ) -> None:
        self.connection = connection
        self.data = data
        self.due = due
        self.failed = failed
        self.sent = 0


class Handover:
    """Our own end: takes connections, and passes others on."""

    def __init__(self, folder: Path, index: int, take: Take) -> None:
        self._folder = folder
        self._index = index
        self._take = take
        self._listening: socket.socket | None = None
        self._ways: dict[int, _Way] = {}
        self._readers: set[_Reader] = set()

    def open(self) -> None:
        """Take connections from now on. Raises OSError."""
        path = self._path(self._index)
        path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        path.chmod(0o600)
        self._listening.listen(64)
        self._listening.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def close(self) -> None:
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None
            self._path(self._index).unlink(missing_ok=True)
        for reader in list(self._readers):
            reader.close()
        for way in self._ways.values():
            way.close()

    def pass_on(
        self,
        other: int,
        connection: socket.socket,
        facts: dict[str, Any],
        first: bytes,
        patience: float,
        failed: Callable[[], None],
    ) -> None:
        """To the process with this index; the socket is ours. ``failed`` is called where it does not take the
        connection within ``patience`` seconds; whoever is called has the socket then."""
        words = json.dumps(facts).encode()
        data = _LENGTHS.pack(len(words), len(first)) + words + first
        way = self._ways.get(other)
        if way is None:
            way = self._ways[other] = _Way(self._path(other))
        way.add(_Item(connection, data, asyncio.get_running_loop().time() + patience, failed))

    def _path(self, index: int) -> Path:
        return self._folder / f"{index}.clients"

    def _accept(self) -> None:
        assert self._listening is not None
        with contextlib.suppress(OSError):
            connection, _ = self._listening.accept()
            self._readers.add(_Reader(connection, self._take, self._readers.discard))


class _Way:
    """To one process. Connections keep their order, and wait for a process that is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._items: deque[_Item] = deque()
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writes = False

    def add(self, item: _Item) -> None:
        self._items.append(item)
        if not self._writes and self._timer is None:
            self._go_on()

    def close(self) -> None:
        self._disconnect()
        if self._timer is not None:
            self._timer.cancel()
        while self._items:
            self._items.popleft().connection.close()

    def _go_on(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._items:
            item = self._items[0]
            if item.due < loop.time():
                if item.sent:
                    self._disconnect()
                self._items.popleft()
                item.failed()
                continue
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX)
                    self._socket.setblocking(False)
                    self._socket.connect(str(self._path))
                self._send(item)
            except BlockingIOError:
                self._wait_for_room()
                return
            except OSError:
                self._disconnect()
                self._timer = loop.call_later(AGAIN, self._go_on)
                return
        self._stop_waiting()

    def _send(self, item: _Item) -> None:
        assert self._socket is not None
        descriptor = array.array("i", [item.connection.fileno()])
        while item.sent < len(item.data):
            ancillary = [] if item.sent else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)]
            item.sent += self._socket.sendmsg([memoryview(item.data)[item.sent :]], ancillary)
        item.connection.close()
        self._items.popleft()

    def _wait_for_room(self) -> None:
        if not self._writes and self._socket is not None:
            self._writes = True
            asyncio.get_running_loop().add_writer(self._socket, self._go_on)

    def _stop_waiting(self) -> None:
        if self._writes and self._socket is not None:
            asyncio.get_running_loop().remove_writer(self._socket)
        self._writes = False

    def _disconnect(self) -> None:
        self._stop_waiting()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._items:
            self._items[0].sent = 0


class _Reader:
    """From one process."""

    def __init__(self, connection: socket.socket, take: Take, ended: Callable[[_Reader], None]) -> None:
        self._connection = connection
        self._take = take
        self._ended = ended
        self._data = bytearray()
        self._sockets: deque[int] = deque()
        connection.setblocking(False)
        asyncio.get_running_loop().add_reader(connection, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._connection)
        self._connection.close()
        while self._sockets:
            os.close(self._sockets.popleft())
        self._ended(self)

    def _read(self) -> None:
        room = socket.CMSG_SPACE(MOST_SOCKETS * array.array("i").itemsize)
        try:
            data, ancillary, _, _ = self._connection.recvmsg(1 << 16, room)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(content[: len(content) - len(content) % found.itemsize])
                self._sockets.extend(found)
        if not data:
            self.close()
            return
        self._data += data
        self._take_all()

    def _take_all(self) -> None:
        while len(self._data) >= _LENGTHS.size:
            words, first = _LENGTHS.unpack_from(self._data)
            start = _LENGTHS.size + words
            if len(self._data) < start + first or not self._sockets:
                return
            facts = json.loads(bytes(self._data[_LENGTHS.size : start]))
            data = bytes(self._data[start : start + first])
            del self._data[: start + first]
            connection = socket.socket(fileno=self._sockets.popleft())
            connection.set_inheritable(False)
            self._take(connection, facts, data)
