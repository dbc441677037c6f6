"""The running broker, as the HTTP resources see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pybroker.webhook.metrics import EndpointStats
from pybroker.webhook.push.registry import Registry
from pybroker.webhook.sink import Sink

from ..bridge.bridge import Bridge
from ..bridge.settings import BridgeSettings
from ..config.settings import Settings
from ..engine.engine import Engine
from ..faults.rules import Faults
from ..live.feed import Feed
from ..live.numbers import Lag
from ..live.packets import LastPackets
from ..transport.listener import Listener
from .peaks import Peaks

if TYPE_CHECKING:
    from .workers import Workers

NODE = "pybroker@127.0.0.1"
"""EMQX names the node of a cluster in many answers; there is one."""


class End(Protocol):
    """How a program stops its broker."""

    def __call__(self, restart: bool) -> None:
        """Stop it; with ``restart`` it starts again, by its file as that is now."""

    async def problems(self) -> list[str]:
        """What would keep it from starting again."""


class Bridges(Protocol):
    """The bridges of the broker, and what can be done with them until the next reload."""

    all: dict[str, Bridge]

    def add(self, settings: BridgeSettings) -> None: ...
    def remove(self, name: str) -> None: ...
    def switch(self, name: str, on: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Served:
    """The objects that the resources may read and change."""

    engine: Engine
    settings: Callable[[], Settings]
    """As they hold now: a reload exchanges them."""
    reload: Callable[[Settings], Awaitable[Any]]
    """Go by other settings, as far as that is possible while running."""
    webhooks: Callable[[], Sink]
    registrations: Callable[[], Registry | None]
    """Devices for notifications; None where no event pusher has `backend = push`."""
    bridges: Callable[[], Bridges]
    listeners: Sequence[Listener]
    faults: Faults | None
    """Where the configuration has a section `faults {}`."""
    feed: Feed
    lag: Lag
    packets: LastPackets
    end: Callable[[], End | None]
    """None if another program runs the broker."""
    webhook_stats: Callable[[], list[EndpointStats]]
    """Of all processes of this broker."""
    nodes: Callable[[], list[dict[str, Any]]]
    """How each node of this broker is, worker or host; see `cluster/status.py`."""
    workers: Workers | None = None
    """Where this is one of several processes."""
    peaks: Peaks = field(default_factory=Peaks)
