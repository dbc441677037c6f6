"""Listening sockets: bound to an address, or to a file."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from pathlib import Path

from .errors import ListenError

ANOTHER = "another program"
"""The words for the unknown program that uses an address."""
UMASK = 0o117
"""The mode of a unix socket: only its owner and group may connect."""


async def listen_tcp(host: str, port: int, backlog: int) -> list[socket.socket]:
    """One socket for each address of ``host``, all on one port; 0 picks a free one. Raises ListenError."""
    if not 0 <= port <= 0xFFFF:
        raise ListenError(f"there is no port {port}; they go from 1 to 65535, and 0 picks a free one")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenError(_cause(error, host, port)) from None
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            bound = _listen(family, kind, protocol, (address[0], port, *address[2:]), backlog)
        except OSError as error:
            refused = error
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue  # such as ::1 of `localhost` on a machine without IPv6
            break
        sockets.append(bound)
        port = bound.getsockname()[1]
    else:
        if sockets:
            return sockets
    for one in sockets:
        one.close()
    assert refused is not None
    raise ListenError(_cause(refused, host, port))


def listen_unix(path: str, backlog: int) -> socket.socket:
    """A socket in the file ``path``. One that a dead program left behind is replaced. Raises ListenError."""
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(UMASK)
    try:
        bound.bind(path)
        bound.listen(backlog)
    except OSError as error:
        bound.close()
        raise ListenError(f"the socket {path} cannot be made: {error.strerror or error}") from None
    finally:
        os.umask(umask)
    bound.setblocking(False)
    return bound


def inode(path: str) -> int | None:
    """The identity of the file at ``path``; None if there is none."""
    try:
        return Path(path).lstat().st_ino
    except OSError:
        return None


def _listen(
    family: int, kind: int, protocol: int, address: tuple[str | int, ...], backlog: int
) -> socket.socket:
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # [::] leaves the IPv4 port to a listener of its own
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(backlog)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _remove_stale(path: str) -> None:
    try:
        mode = Path(path).lstat().st_mode
    except OSError:
        return  # not there, or bind will say what is wrong
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"{path} exists and is not a socket; remove it, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except OSError:
            pass  # somebody listens there who is too busy, or whom we may not reach
    raise ListenError(f"the socket {path} is in use by {ANOTHER}; stop it, or choose another path")


def _cause(error: OSError, host: str, port: int) -> str:
    where = f"port {port} on {host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by {ANOTHER}; stop it, or bind another port (0 picks a free one)"
    if error.errno == errno.EACCES:
        return f"{where} may not be bound by this user; ports below 1024 need more rights"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host} is not an address of this machine"
    return f"{where} cannot be bound: {error.strerror or error}"
