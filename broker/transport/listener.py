"""A listener: an address that accepts clients."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..config.settings import ListenerSettings, TlsServer
from ..engine import handlers
from ..engine.channel import LINGER, Channel, Link
from ..engine.connection_limits import MAX_UNANNOUNCED
from ..engine.engine import Engine
from . import tls
from .acceptor import Acceptor
from .arrival import Arrival, Origin, Owners
from .errors import ListenError
from .proxy_protocol import announced
from .refusal import Refusal
from .sockets import inode, listen_tcp, listen_unix
from .tcp import Accept, PassedOn, TcpConnection, peer_of
from .tls_connection import TlsConnection
from .websocket import DEFAULT_PATHS, WebSocketConnection

__all__ = ["ListenError", "Listener", "OpenChannel"]

SCHEMES = {"tcp": "mqtt", "ssl": "mqtts", "ws": "ws", "wss": "wss"}

OpenChannel = Callable[..., Channel]
"""Makes a channel from :class:`Channel`'s arguments: the class itself, or one that extends it."""


class Listener:
    """Opens one configured address and makes a channel of each connection."""

    def __init__(
        self,
        engine: Engine,
        settings: ListenerSettings,
        open_channel: OpenChannel = Channel,
        *,
        owners: Owners | None = None,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """``owners``: other processes accept here as well, on the same ``sockets``, which listen already."""
        self.settings = settings
        self._owners = owners
        self._given = sockets
        self._engine = engine
        self._open_channel = open_channel
        self._servers: list[asyncio.Server | Acceptor | Refusal] = []
        self._context: tls.ServerContext | None = None
        self._port = settings.port
        self._refuses = False
        self._path = _path_of(settings)
        self._inode: int | None = None
        self._accept_any: Accept = self._accept
        """Made once, as each connection keeps it."""

    async def open(self) -> None:
        """Bind and accept. Raises ListenError naming the listener, the address and the cause."""
        settings = self.settings
        if self._refuses:
            self.close()
        try:
            if settings.tls is not None:
                self._context = tls.server_context(settings.name, settings.tls)
            elif settings.type in ("ssl", "wss"):
                raise ListenError("TLS needs a certificate (certfile) and its private key (keyfile)")
        except ListenError as error:
            self.close()
            raise ListenError(f"listener {settings.name}: {error}") from None
        try:
            for listening in await self._listen():
                self._servers.append(await self._serve(listening))
        except ListenError:
            self.close()
            raise

    def close(self) -> None:
        """Accept nobody more; the clients that are connected stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        self._refuses = False
        if self._inode is not None and inode(self._path) == self._inode:
            Path(self._path).unlink(missing_ok=True)

    def refuse(self) -> None:
        """Be closed, as clients see it, until :meth:`open` is called. Sockets that other processes accept on
        as well stay; who connects is cut off."""
        self.close()
        for listening in self._given:
            self._refuses = True
            self._servers.append(Refusal(listening.dup()))

    @property
    def is_open(self) -> bool:
        """Whether clients are accepted."""
        return bool(self._servers) and not self._refuses

    def load_certificates(self, settings: TlsServer) -> tls.ServerContext:
        """Read the files of ``settings``, for :meth:`use_certificates`. Raises ListenError; nothing has
        changed then, nor before that call."""
        try:
            return tls.server_context(self.settings.name, settings)
        except ListenError as error:
            raise ListenError(f"listener {self.settings.name}: {error}") from None

    def use_certificates(self, loaded: tls.ServerContext) -> None:
        """Use these certificates for new clients; connected clients stay."""
        self._context = loaded

    @property
    def port(self) -> int:
        """The port that clients connect to; if the file has port 0, the one that the system chose."""
        return self._port

    @property
    def url(self) -> str:
        """For people, and for clients that take one."""
        return url_of(self.settings, self.port)

    @property
    def facts(self) -> dict[str, Any]:
        """For programs: name, type, host and port, as the ready file has them; the path of a WebSocket,
        or the file of a unix socket, whose host is empty and whose port is 0."""
        return facts_of(self.settings, self.port)

    async def _listen(self) -> list[socket.socket]:
        settings = self.settings
        listening = [one.dup() for one in self._given] or await listening_sockets(settings)
        if settings.type != "unix":
            self._port = listening[0].getsockname()[1]
        elif not self._given:
            self._inode = inode(self._path)
        return listening

    async def _serve(self, listening: socket.socket) -> asyncio.Server | Acceptor:
        if self.settings.proxy_protocol or self._context is not None:
            acceptor = Acceptor(listening, self._arrive, listener=self.settings.name, has_room=self._has_room)
            acceptor.start()
            return acceptor
        return await asyncio.get_running_loop().create_server(
            self._connection, sock=listening, backlog=self.settings.backlog
        )

    def _has_room(self) -> bool:
        """As a channel looks for it; those that are none yet count too."""
        engine = self._engine
        if len(engine.channels) + engine.arriving < engine.limits.max_connections + MAX_UNANNOUNCED:
            return True
        engine.counters.limited["max_connections"] += 1
        return False

    async def _arrive(self, connection: socket.socket) -> None:
        """PROXY header and TLS handshake, each in its time."""
        self._engine.arriving += 1
        try:
            connection.setblocking(False)
            peer = None
            if self.settings.proxy_protocol:
                header = await announced(connection, self.settings.name, self._engine.limits.connect_timeout)
                if header is None:
                    return
                peer = header.peer
            with contextlib.suppress(OSError):  # it has ended
                if self._context is not None:
                    await self._secure(self._context, connection, peer)
                else:
                    protocol = partial(self._connection, peer)
                    await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        finally:
            self._engine.arriving -= 1

    async def _secure(self, context: tls.ServerContext, connection: socket.socket, peer: str | None) -> None:
        """Returns once the TLS handshake is over, or has failed."""
        loop = asyncio.get_running_loop()
        handshake = loop.create_future()

        def protocol() -> Any:
            return TlsConnection(
                context,
                self._connection(peer),
                handshake,
                timeout=self._engine.limits.connect_timeout,
                linger=LINGER,
            )

        transport, _ = await loop.connect_accepted_socket(protocol, connection)
        try:
            await handshake
        except asyncio.CancelledError:
            transport.abort()
            raise

    def _connection(self, peer: str | None = None) -> Any:
        """A TcpConnection, which asyncio takes for the Protocol that it does not inherit from."""
        accept = partial(self._accept, peer=peer) if peer else self._accept_any
        if self.settings.type in ("ws", "wss"):
            return WebSocketConnection(accept, self.settings.path, self._engine.mqtt.max_packet_size)
        return TcpConnection(accept)

    def _accept(
        self, link: TcpConnection, transport: asyncio.Transport, peer: str | None = None
    ) -> Channel | Arrival:
        peer = peer or peer_of(transport)
        if self._owners is None and self._context is None:
            return self._open_channel(self._engine, handlers, link, listener=self.settings.name, peer=peer)
        origin = self._origin(transport, peer)
        admit = partial(self._admit, link, origin, transport.get_extra_info("ssl_object"))
        if self._owners is None:
            return admit()
        return Arrival(
            self._engine,
            self._owners,
            link,
            transport,
            origin,
            may_move=self._context is None and self.settings.type in ("tcp", "unix"),
            admit=admit,
        )

    def _origin(self, transport: asyncio.Transport, peer: str) -> Origin:
        settings = self.settings
        if self._context is None:
            return Origin(settings.name, peer)
        certificate = transport.get_extra_info("peercert") or None
        name = tls.common_name(certificate) if settings.peer_cert_as_username else None
        return Origin(settings.name, peer, certificate, name)

    def _admit(self, link: Link, origin: Origin, ssl_object: Any) -> Channel:
        return self._open_channel(
            self._engine,
            handlers,
            link,
            listener=origin.listener,
            peer=origin.peer,
            certificate=origin.certificate,
            tls=ssl_object,
            certified_username=origin.certified_username,
        )

    async def take(self, connection: socket.socket, origin: Origin, first: bytes) -> None:
        """Serve a connection that another process has accepted for this listener; ``first`` has come."""
        connection.setblocking(False)

        def protocol() -> Any:
            return PassedOn(lambda link, _: self._admit(link, origin, None), first)

        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)


async def listening_sockets(settings: ListenerSettings) -> list[socket.socket]:
    """Bound and listening. Raises ListenError naming the listener, the address and the cause."""
    try:
        if settings.type == "unix":
            return [listen_unix(_path_of(settings), settings.backlog)]
        return await listen_tcp(settings.host, settings.port, settings.backlog)
    except ListenError as error:
        raise ListenError(f"listener {settings.name}: {error}") from None


def url_of(settings: ListenerSettings, port: int) -> str:
    """As :attr:`Listener.url`, for a listener with this port."""
    path = _path_of(settings)
    if settings.type == "unix":
        return f"unix:{path}"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{SCHEMES[settings.type]}://{host}:{port}{path}"


def facts_of(settings: ListenerSettings, port: int) -> dict[str, Any]:
    """As :attr:`Listener.facts`, for a listener with this port."""
    path = _path_of(settings)
    facts = {"name": settings.name, "type": settings.type, "host": settings.host, "port": port}
    if settings.type == "unix":
        facts |= {"host": "", "port": 0}
    return facts | {"path": path} if path else facts


def _path_of(settings: ListenerSettings) -> str:
    if settings.type == "unix":
        return str(Path(settings.path).absolute())
    return settings.path or (DEFAULT_PATHS[0] if settings.type in ("ws", "wss") else "")
