"""A transport to an address of a remote broker."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from ..outgoing.tls import TlsError, client_context
from ..transport.tcp import Accept, TcpConnection
from .settings import Address, BridgeSettings, SocketOptions
from .websocket import WebSocketUplink

QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class Endpoint:
    """What a transport passes the bytes to in place of a channel. It counts what came, for the transport's
    turns."""

    lingers = False
    packets_received = 0

    @property
    def engine(self) -> Endpoint:
        return self

    @property
    def counters(self) -> Endpoint:
        return self


async def open_transport(settings: BridgeSettings, address: Address, accept: Accept, max_packet: int) -> None:
    """Connect; ``accept`` makes the endpoint. Raises OSError, ssl.SSLError among them, or TlsError."""
    loop = asyncio.get_running_loop()

    def protocol() -> Any:  # a TcpConnection does not inherit from asyncio.Protocol
        if address.scheme in ("ws", "wss"):
            return WebSocketUplink(accept, address, max_packet)
        return TcpConnection(accept)

    if address.scheme == "unix":
        await loop.create_unix_connection(protocol, address.path)
        return
    tls = server_name = None
    if address.encrypted:
        # A file may be large, and is read anew each time, so that a renewed certificate is used.
        tls = await asyncio.to_thread(client_context, settings.tls, "ssl")
        server_name = settings.tls.sni or address.host
    opened = await _socket(address, settings.socket)
    try:
        await loop.create_connection(protocol, sock=opened, ssl=tls, server_hostname=server_name)
    except BaseException:
        opened.close()
        raise


async def _socket(address: Address, options: SocketOptions) -> socket.socket:
    """A socket that is connected to the first of the host's addresses that answers."""
    loop = asyncio.get_running_loop()
    error: OSError | None = None
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    for family, kind, proto, _, where in found:
        opened = socket.socket(family, kind, proto)
        try:
            opened.setblocking(False)
            _set(opened, options)
            await loop.sock_connect(opened, where)
        except OSError as failed:
            opened.close()
            error = failed
        except BaseException:
            opened.close()
            raise
        else:
            return opened
    raise error or OSError("the name has no address")


def _set(opened: socket.socket, options: SocketOptions) -> None:
    if options.bind_interface is not None:
        name = options.bind_interface.encode() + b"\0"
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, options.nodelay)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, options.keepalive)
    if options.quickack is not None and QUICKACK is not None:
        opened.setsockopt(socket.IPPROTO_TCP, QUICKACK, options.quickack)
    for option, value in (
        ("TCP_KEEPIDLE", options.keepidle),
        ("TCP_KEEPINTVL", options.keepintvl),
        ("TCP_KEEPCNT", options.keepcnt),
    ):
        if value is not None and hasattr(socket, option):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), max(1, int(value)))


def in_words(error: BaseException) -> str:
    """Why no transport could be opened, for people."""
    if isinstance(error, TlsError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {error.reason or error}"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, FileNotFoundError):
        return "there is no such socket"
    if isinstance(error, TimeoutError):
        return "it cannot be reached in time"
    if isinstance(error, socket.gaierror):
        return f"its name has no address: {error.strerror}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
