"""An address that accepts clients."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

from ..config.settings import ListenerSettings
from ..engine import verbs
from ..engine.channel import Channel, Link
from ..engine.engine import Engine
from .tcp import TcpConnection, peer_of

BACKLOG = 4096
"""Connections the system may hold until we accept them; the kernel has its own bound."""


OpenChannel = Callable[..., Channel]
"""Makes a channel of what :class:`Channel` takes: the class itself, or one that adds to it."""


class ListenError(Exception):
    """A listener could not be opened: one line for people."""


class Listener:
    """Opens one configured address and makes a channel of each connection."""

    def __init__(
        self, engine: Engine, settings: ListenerSettings, open_channel: OpenChannel = Channel
    ) -> None:
        self.settings = settings
        self._engine = engine
        self._open_channel = open_channel
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Bind and accept. Raises ListenError naming the listener, the address and the cause."""
        settings = self.settings
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: TcpConnection(self._accept), settings.host, settings.port, backlog=BACKLOG
            )
        except OSError as error:
            raise ListenError(f"listener {settings.name}: {_cause(error, settings)}") from None

    @property
    def port(self) -> int:
        """The port that clients connect to; the system's choice where the file says 0."""
        if self._server is not None and self._server.sockets:
            return int(self._server.sockets[0].getsockname()[1])
        return self.settings.port

    @property
    def url(self) -> str:
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"mqtt://{host}:{self.port}"

    @property
    def facts(self) -> dict[str, Any]:
        """For programs: name, type, host and port, as the ready file has them."""
        settings = self.settings
        return {"name": settings.name, "type": settings.type, "host": settings.host, "port": self.port}

    def close(self) -> None:
        """Accept nobody more; the clients that are connected stay."""
        if self._server is not None:
            self._server.close()

    def _accept(self, link: Link, transport: asyncio.Transport) -> Channel:
        return self._open_channel(
            self._engine, verbs, link, listener=self.settings.name, peer=peer_of(transport)
        )


def _cause(error: OSError, settings: ListenerSettings) -> str:
    where = f"port {settings.port} on {settings.host or 'all addresses'}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program; stop it, or bind another port (0 picks a free one)"
    if error.errno == errno.EACCES:
        return f"{where} may not be bound by this user; ports below 1024 need more rights"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{settings.host} is not an address of this machine"
    return f"{where} cannot be bound: {error.strerror or error}"
