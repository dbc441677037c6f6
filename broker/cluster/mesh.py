"""A bus of unix sockets, for processes of one machine: each has a socket in a folder of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from struct import Struct
from typing import cast

from .bus import Node

AGAIN = 0.02
"""Seconds until a node that was not there is looked for again."""
MAX_FRAME = 1 << 30
_LENGTH = Struct("<I")


class Mesh:
    """A connection for each pair of nodes, made by the one that comes later in the list."""

    def __init__(self, folder: Path, name: str, names: Sequence[str]) -> None:
        """``names`` are those of all nodes, in the same order for each."""
        self._folder = folder
        self._name = name
        self._names = names
        self._node: Node | None = None
        self._server: asyncio.Server | None = None
        self._looking: list[asyncio.Task[None]] = []
        self._ways: dict[str, _Way] = {}

    async def open(self, node: Node) -> None:
        self._node = node
        loop = asyncio.get_running_loop()
        path = self._path(self._name)
        path.unlink(missing_ok=True)
        self._server = await loop.create_unix_server(partial(_Way, self), str(path))
        path.chmod(0o600)
        self._looking = [
            loop.create_task(self._look_for(other)) for other in self._names[: self._names.index(self._name)]
        ]

    async def close(self) -> None:
        for task in self._looking:
            task.cancel()
        if self._server is not None:
            self._server.close()
        self._path(self._name).unlink(missing_ok=True)
        for way in list(self._ways.values()):
            way.close()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.mesh"

    async def _look_for(self, other: str) -> None:
        """Connect to the node whenever there is no connection."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, way = await loop.create_unix_connection(partial(_Way, self), str(self._path(other)))
            except OSError:
                await asyncio.sleep(AGAIN)
                continue
            way.transmit(self._name.encode())
            self.begun(way, other)
            await way.ended.wait()

    def begun(self, way: _Way, other: str) -> None:
        """The connection is that node's; one before it is no more."""
        if self._node is None or other == self._name or other not in self._names:
            way.close()
            return
        before = self._ways.pop(other, None)
        if before is not None:
            before.peer = None
            before.close()
            self._node.down(other)
        way.peer = other
        self._ways[other] = way
        self._node.up(other, way.transmit)

    def lost(self, way: _Way) -> None:
        if way.peer is not None and self._node is not None and self._ways.get(way.peer) is way:
            del self._ways[way.peer]
            self._node.down(way.peer)

    def received(self, way: _Way, frame: bytes) -> None:
        if way.peer is not None:
            assert self._node is not None
            self._node.received(way.peer, frame)
        else:
            self.begun(way, frame.decode(errors="replace"))


class _Way(asyncio.Protocol):
    """One connection: frames with their length before them."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._transport: asyncio.Transport | None = None
        self._rest = bytearray()
        self.peer: str | None = None
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.ended.set()
        self._mesh.lost(self)

    def transmit(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_LENGTH.pack(len(frame)) + frame)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        rest = self._rest
        rest += data
        at, end = 0, len(rest)
        whole = bytes(rest) if end < 1 << 16 else None
        while end - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(rest, at)
            if length > MAX_FRAME:
                self.close()
                return
            start = at + _LENGTH.size
            if start + length > end:
                break
            at = start + length
            self._mesh.received(self, whole[start:at] if whole is not None else bytes(rest[start:at]))
        del rest[:at]
