from __future__ import annotations

import pytest

from tests.harness import Broker

from .spread import SpreadBroker


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nodes", type=int, default=1, help="run the engine as so many nodes of one broker")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _nodes(config) > 1:
        for item in items:
            if item.get_closest_marker("one_node"):
                item.add_marker(pytest.mark.skip(reason="it looks into the engine of one node"))


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Broker:
    """The engine as it comes, without a socket."""
    nodes = _nodes(request.config)
    return Broker() if nodes == 1 else SpreadBroker(nodes)


def _nodes(config: pytest.Config) -> int:
    """1 where the tests of another folder are run, too: pytest does not know our option then."""
    return int(config.getoption("--nodes", 1))
