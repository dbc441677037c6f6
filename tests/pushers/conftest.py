from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.waiting import DEADLINE
from tests.webhook.conftest import start  # noqa: F401 - the fixture that starts a sink serves both

from .servers import Nats, Rabbit, Redis, Server, running
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
