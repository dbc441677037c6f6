"""What `pybroker cluster status` asks of a running broker, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .control import Handler


def nodes_command(nodes: Callable[[], list[dict[str, Any]]]) -> Handler:
    """Answers with what `App.nodes` tells of each process of the broker."""

    async def answer(_: dict[str, Any]) -> list[dict[str, Any]]:
        return nodes()

    return answer
