"""The part for `http_server {}`. aiohttp's server is imported only if there is such a section."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.settings import HttpServerSettings, Settings
from ..part import Apply, Part
from ..transport import tls
from ..transport.errors import ListenError
from ..transport.sockets import listen_tcp, listen_unix
from .served import Served

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger("pybroker.rest")

BACKLOG = 128
UNLIMITED = 1 << 30
"""For requests of another worker: who sent them to that one is bounded by its settings."""


class Rest(Part):
    """The HTTP server, open from the start to the stop. Raises ListenError if the address cannot be bound,
    AccessError if the key of `jwt` cannot be used."""

    def __init__(self, served: Served, settings: HttpServerSettings | None) -> None:
        self._served = served
        self._settings = settings
        self._server: Server | None = None
        self._port = 0

    @property
    def url(self) -> str | None:
        """The URL of the page; None if nothing is served."""
        if self._server is None or self._settings is None:
            return None
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104
        return f"{'https' if self._settings.tls else 'http'}://{host}:{self._port}/"

    @property
    def port(self) -> int:
        """The port it listens on; 0 where nothing is served."""
        return self._port

    async def start(self) -> None:
        settings = self._settings
        if settings is None:
            return
        from .access import Gate
        from .server import Server

        gate = Gate(settings)
        try:
            context = tls.server_context("http_server", settings.tls) if settings.tls else None
            sockets = await listen_tcp(settings.host, settings.port, BACKLOG)
        except ListenError as error:
            raise ListenError(f"http_server: {error}") from None
        self._port = sockets[0].getsockname()[1]
        self._served.lag.start()
        self._server = Server(self._served, settings, gate)
        await self._server.listen(sockets, context)

    async def prepare(self, settings: Settings) -> Apply:
        server, new = self._server, settings.http_server
        if server is None or new is None:
            return await super().prepare(settings)
        from .access import Gate

        gate = Gate(new)

        def apply() -> None:
            self._settings = new
            server.use(new, gate)

        return apply

    async def leave(self) -> None:
        if self._server is not None:
            self._served.lag.stop()
            await self._server.close()
            self._server = None


class PrivateRest(Part):
    """The same API about this process alone, for the process of this broker that serves HTTP; that one has
    asked who wants to know."""

    def __init__(self, served: Served, path: Path) -> None:
        self._served = served
        self._path = path
        self._server: Server | None = None

    async def start(self) -> None:
        from .access import Gate
        from .server import Server

        settings = HttpServerSettings(
            auth_type="no_auth", limit_conn=UNLIMITED, max_streams=UNLIMITED, max_body=UNLIMITED
        )
        self._server = Server(self._served, settings, Gate(settings), private=True)
        await self._server.listen([listen_unix(str(self._path), BACKLOG)])

    async def leave(self) -> None:
        if self._server is not None:
            await self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)
