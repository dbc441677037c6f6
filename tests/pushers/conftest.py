from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pybroker.webhook import Sink, WebhookSettings

from .servers import DEADLINE, Nats, Rabbit, Redis, Server, running
from .support import forget_everything

SLOW_WITH_RABBIT = (
    "test_a_server_that_comes_late",
    "test_the_order_of_a_client_survives_a_restart",
    "test_a_server_that_is_not_trusted",
)
"""RabbitMQ takes seconds to start; the others show the same in less than one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        here = item.path.parent == Path(__file__).parent
        if here and item.name.endswith("[rabbit]") and item.name.startswith(SLOW_WITH_RABBIT):
            item.add_marker(pytest.mark.slow)


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


@pytest.fixture(scope="session")
def only_rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests: RabbitMQ takes seconds to start."""
    yield from _running(Rabbit, tmp_path_factory.mktemp("rabbit"))


@pytest.fixture
def rabbit(only_rabbit: Server) -> Server:
    """As if it had just been installed, whatever the last test has done to it."""
    only_rabbit.revive()
    with ThreadPoolExecutor(1) as thread:  # not the loop of this test
        thread.submit(asyncio.run, forget_everything(only_rabbit)).result(DEADLINE)
    return only_rabbit


@pytest.fixture(params=["redis", "nats", "rabbit"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found
