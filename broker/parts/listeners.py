"""The part for `listeners {}`: opens the addresses that accept clients."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from ..config.settings import Settings
from ..engine.engine import Engine
from ..part import Apply, Part
from ..transport.arrival import Owners
from ..transport.listener import Listener, OpenChannel


class Listeners(Part):
    """The listeners, open from the start to the stop; a reload replaces their certificates."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        open_channel: OpenChannel,
        owners: Owners | None = None,
        sockets: Mapping[str, Sequence[socket.socket]] = MappingProxyType({}),
    ) -> None:
        """``owners`` and ``sockets``, by the listener's name: where other processes accept here as well."""
        self.all: Sequence[Listener] = [
            Listener(engine, one, open_channel, owners=owners, sockets=sockets.get(one.name, ()))
            for one in settings.listeners
        ]

    def __iter__(self) -> Iterator[Listener]:
        return iter(self.all)

    def port_of(self, name: str) -> int:
        """The port of the listener ``name``; 0 if there is no such listener."""
        return next((one.port for one in self.all if one.settings.name == name), 0)

    async def start(self) -> None:
        for listener in self.all:
            await listener.open()

    async def prepare(self, settings: Settings) -> Apply:
        """Read all certificates again: the files may have changed even if their names are the same."""
        tls = {one.name: one.tls for one in settings.listeners}
        loaded = [
            (listener, listener.load_certificates(named))
            for listener in self.all
            if (named := tls.get(listener.settings.name)) is not None
        ]

        def apply() -> None:
            for listener, certificates in loaded:
                listener.use_certificates(certificates)

        return apply

    async def leave(self) -> None:
        """Accept no more clients; connected clients stay."""
        for listener in self.all:
            listener.close()
