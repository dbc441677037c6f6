"""A channel whose packets are recorded, and that the faults in force apply to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..engine.channel import Channel, Handlers, Link
from ..engine.engine import Engine
from .rules import Faults
from .wire import Observer, Wire


class WatchedChannel(Channel):
    """A Channel behind a wire that faults can disturb."""

    __slots__ = ("_gone", "wire")

    def __init__(
        self,
        faults: Faults,
        observer: Observer | None,
        engine: Engine,
        handlers: Handlers,
        link: Link,
        *,
        listener: str = "",
        peer: str = "",
        certificate: Mapping[str, Any] | None = None,
        certified_username: str | None = None,
        tls: Any = None,
        inside: bool = False,
        gone: Callable[[Any], None] | None = None,
    ) -> None:
        """``gone`` is called with the channel when its transport is gone."""
        self._gone = gone
        self.wire = Wire(faults, observer, engine, link, self, peer=peer, listener=listener)
        super().__init__(
            engine,
            handlers,
            self.wire,
            listener=listener,
            peer=peer,
            certificate=certificate,
            certified_username=certified_username,
            tls=tls,
            inside=inside,
        )

    # The transport calls these; what comes through the wire goes on to Channel.

    def received(self, data: bytes) -> None:
        self.wire.received(data)

    def lost(self) -> None:
        if self._gone is not None:
            self._gone(self)
        self.wire.lost()

    # The wire calls these.

    def wire_received(self, data: bytes) -> None:
        super().received(data)

    def wire_lost(self) -> None:
        super().lost()
