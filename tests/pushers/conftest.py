from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pybroker.webhook import Sink, WebhookSettings

from .servers import Nats, Rabbit, Redis, Server, running

LIBRARIES = {Redis: "redis", Nats: "nats", Rabbit: "aiormq"}


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


def _running(kind: type[Server], directory: Path) -> Iterator[Server]:
    pytest.importorskip(LIBRARIES[kind], reason=f'pip install "pybroker[{kind.__name__.lower()}]"')
    with running(kind(directory / "server")) as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    yield from _running(Redis, tmp_path)


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Server]:
    yield from _running(Nats, tmp_path)


@pytest.fixture
def rabbit(tmp_path: Path) -> Iterator[Server]:
    yield from _running(Rabbit, tmp_path)


@pytest.fixture(params=[Redis, Nats, Rabbit], ids=lambda kind: kind.__name__.lower())
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    yield from _running(request.param, tmp_path)
