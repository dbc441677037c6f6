"""A channel whose packets are recorded, and that the faults in force apply to."""

from __future__ import annotations

from typing import Any

from ..engine.channel import Channel, Handlers, Link
from ..engine.engine import Engine
from .rules import Faults
from .wire import Observer, Wire


class WatchedChannel(Channel):
    """A Channel behind a wire that faults can disturb."""

    __slots__ = ("wire",)

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
        **about: Any,
    ) -> None:
        self.wire = Wire(faults, observer, engine, link, self, peer=peer, listener=listener)
        super().__init__(engine, handlers, self.wire, listener=listener, peer=peer, **about)

    # The transport calls these; what comes through the wire goes on to Channel.

    def received(self, data: bytes) -> None:
        self.wire.received(data)

    def lost(self) -> None:
        self.wire.lost()

    # The wire calls these.

    def wire_received(self, data: bytes) -> None:
        super().received(data)

    def wire_lost(self) -> None:
        super().lost()
