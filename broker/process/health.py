"""Answers `pybroker health` in a running broker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine.engine import Engine
from ..transport.listener import Listener
from .control import Handler


def health_command(engine: Engine, listeners: Sequence[Listener]) -> Handler:
    """Answers with one line: the number of clients, and the addresses."""

    async def health(_: dict[str, Any]) -> str:
        return f"{engine.connected} clients on {', '.join(one.url for one in listeners)}"

    return health
