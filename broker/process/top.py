"""Answers `pybroker top` in a running broker."""

from __future__ import annotations

from typing import Any

from pybroker.webhook.sink import Sink

from ..engine.engine import Engine
from ..live.watch import Watch
from .control import Handler


def top_command(engine: Engine, webhooks: Sink) -> Handler:
    """Answers with `Watch.look`; its observers are removed some seconds after the last request."""
    watch = Watch(engine, lambda: [stats.to_dict() for stats in webhooks.stats()])

    async def look(_: dict[str, Any]) -> dict[str, Any]:
        return watch.look()

    return look
