"""The PROXY protocol, versions 1 and 2: a proxy's connection begins with the client's address.

https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt; sections are cited from there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import struct
from dataclasses import dataclass

log = logging.getLogger("pybroker.clients")

V1_PREFIX = b"PROXY "
V1_MAX = 107
"""The longest line of version 1, CRLF included (2.1)."""
V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2_FIXED = 16
LOOK_AHEAD = 536
"""Bytes read at a time: a version 2 header without many extensions."""


class ProxyHeaderError(ValueError):
    """The received bytes are not a PROXY header."""


@dataclass(frozen=True, slots=True)
class Header:
    """A PROXY header."""

    length: int
    """The length of the header, in bytes; the rest is the client's."""
    peer: str | None = None
    """The client's address, ``host:port``; None if the proxy speaks for itself, or does not know it."""


def parse(data: bytes) -> Header | None:
    """The header at the start of ``data``, or None while it is not whole. Raises ProxyHeaderError."""
    if data.startswith(V2_SIGNATURE):
        return _parse_v2(data)
    if data.startswith(V1_PREFIX):
        return _parse_v1(data)
    if V2_SIGNATURE.startswith(data) or V1_PREFIX.startswith(data):
        return None
    raise ProxyHeaderError("it does not begin with a PROXY protocol header")


def _parse_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, V1_MAX)
    if end < 0:
        if len(data) >= V1_MAX or b"\n" in data:
            raise ProxyHeaderError("the line of its PROXY header does not end with CRLF")
        return None
    words = data[:end].decode("latin-1").split(" ")
    length = end + 2
    if words[1] == "UNKNOWN":  # whatever follows is to be ignored (2.1)
        return Header(length)
    if words[1] not in ("TCP4", "TCP6") or len(words) != 6:
        raise ProxyHeaderError("its PROXY header has no readable address")
    return Header(length, _peer(words[2], words[4], version=int(words[1][-1])))


def _peer(host: str, port: str, *, version: int) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ProxyHeaderError("its PROXY header has an invalid address") from None
    if address.version != version or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ProxyHeaderError("its PROXY header has an invalid address")
    return _shown(address, int(port))


def _parse_v2(data: bytes) -> Header | None:
    if len(data) < V2_FIXED:
        return None
    version_command, family, size = struct.unpack_from("!BBH", data, len(V2_SIGNATURE))
    version, command = version_command >> 4, version_command & 0x0F
    if version != 2 or command > 1:
        raise ProxyHeaderError(f"its PROXY header has version {version} and command {command}: unknown here")
    length = V2_FIXED + size
    if len(data) < length:
        return None
    if command == 0:  # LOCAL: the proxy's own connection, such as a health check (2.2)
        return Header(length)
    if family == 0x11:
        return Header(length, _v2_peer(data[V2_FIXED:length], "!4s4sH"))
    if family == 0x21:
        return Header(length, _v2_peer(data[V2_FIXED:length], "!16s16sH"))
    return Header(length)


def _v2_peer(addresses: bytes, layout: str) -> str:
    if len(addresses) < struct.calcsize(layout) + 2:
        raise ProxyHeaderError("its PROXY header is too short for its addresses")
    host, _, port = struct.unpack_from(layout, addresses)
    return _shown(ipaddress.ip_address(host), port)


def _shown(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


async def announced(connection: socket.socket, listener: str, within: float) -> Header | None:
    """A connection's header, if it arrives ``within`` that many seconds; otherwise None, and the connection
    is closed."""
    try:
        async with asyncio.timeout(within):
            return await _read_header(connection)
    except TimeoutError:
        log.info("listener %s: a connection was closed: no whole PROXY header came in time", listener)
    except ProxyHeaderError as error:
        log.info("listener %s: a connection was closed: %s", listener, error)
    except (ConnectionError, EOFError):
        pass  # a port scan, or a health check
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


async def _read_header(connection: socket.socket) -> Header:
    """The header comes before any TLS, so it is read from the bare socket, without reading one byte beyond
    it: peek before reading."""
    taken = b""
    while True:
        await _readable(connection)
        seen = connection.recv(LOOK_AHEAD, socket.MSG_PEEK)
        if not seen:
            raise EOFError
        header = parse(taken + seen)
        taken += connection.recv(header.length - len(taken) if header else len(seen))
        if header is not None:
            return header


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def come() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, come)
    try:
        await ready
    finally:
        loop.remove_reader(connection)
