"""What `pybroker bridge status` asks of a running broker, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..bridge.bridge import BridgeStatus
from .control import Handler


def bridge_command(status: Callable[[], list[BridgeStatus]]) -> Handler:
    """Answers with what :class:`BridgeStatus` has of each bridge."""

    async def answer(_: dict[str, Any]) -> list[dict[str, Any]]:
        return [one.to_dict() for one in status()]

    return answer
