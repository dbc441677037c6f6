"""The running broker that HTTP requests are about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pybroker.webhook.sink import Sink

from ..config.settings import Settings
from ..engine.engine import Engine
from ..faults.rules import Faults
from ..live.feed import Feed
from ..transport.listener import Listener


@dataclass(frozen=True, slots=True)
class Served:
    """What the resources may read and change."""

    engine: Engine
    settings: Callable[[], Settings]
    """As they hold now: a reload exchanges them."""
    webhooks: Callable[[], Sink]
    listeners: Sequence[Listener]
    faults: Faults | None
    """Where the configuration has a section `faults {}`."""
    feed: Feed
