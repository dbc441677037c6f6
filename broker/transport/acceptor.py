"""Accepts connections that begin with something other than MQTT: a PROXY header, a TLS handshake."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Arrive = Callable[[socket.socket], Awaitable[None]]
"""Takes over an accepted connection; returns once it is a client's, or closed."""


class Acceptor:
    """Accepts connections on a listening socket, and passes each to ``arrive``. If there is no room for a
    connection, it is closed at once."""

    def __init__(
        self, listening: socket.socket, arrive: Arrive, *, listener: str, has_room: Callable[[], bool]
    ) -> None:
        self._socket = listening
        self._arrive = arrive
        self._listener = listener
        self._has_room = has_room
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._spawn(self._accept_all())

    def close(self) -> None:
        """Accept no more connections; existing ones stay."""
        for task in self._tasks:
            task.cancel()
        self._socket.close()

    async def _accept_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._socket)
            except OSError as error:
                if error.errno in NO_DESCRIPTOR:
                    log.error("listener %s: cannot accept: %s", self._listener, error.strerror)
                    await asyncio.sleep(1)
                continue
            if self._has_room():
                self._spawn(self._arrive(connection))
            else:
                connection.close()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
