"""Waiting for a condition, with a deadline; tests never wait for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

DEADLINE = 60.0
"""Seconds after which a test gives up. Nothing takes so long, on a busy machine either."""


async def until(condition: Callable[[], object]) -> None:
    """Return when ``condition`` holds. Raises TimeoutError."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.002)
