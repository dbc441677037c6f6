from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from pybroker.webhook import Sink, WebhookSettings
from tests.waiting import DEADLINE

from .receiver import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    server = Receiver()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Sink]]]:
    """Starts a sink over the settings given; stopped when the test ends."""
    sinks = []

    async def started(*settings: WebhookSettings, **more: Any) -> Sink:
        sink = Sink(settings, **more)
        sinks.append(sink)
        await sink.start()
        return sink

    yield started
    for sink in sinks:
        await sink.stop(0)
        assert all(stats.adds_up for stats in sink.stats())


async def drained(sink: Sink) -> None:
    await asyncio.wait_for(sink.drained(), DEADLINE)


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """Connections are tried on both loops; all else on the one that the broker runs on."""
    loops: dict[str, Callable[[], Any]] = {"asyncio": asyncio.new_event_loop}
    with suppress(ImportError):
        import uvloop

        on_both = item.path.stem in ("test_delivery", "test_tls", "test_http1")
        loops = {**(loops if on_both else {}), "uvloop": uvloop.new_event_loop}
    return loops
