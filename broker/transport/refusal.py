"""A listening socket on which nobody is served."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from struct import Struct

_LINGER = Struct("ii")
AT_ONCE = 64
"""Connections that are cut off between two turns of the event loop."""


class Refusal:
    """Resets each connection. Other processes may do the same on copies of the socket, which is ours."""

    def __init__(self, listening: socket.socket) -> None:
        self._socket = listening
        listening.setblocking(False)
        asyncio.get_running_loop().add_reader(listening, self._accept)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # another process was first
            for _ in range(AT_ONCE):
                connection, _ = self._socket.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1, 0))
                connection.close()
