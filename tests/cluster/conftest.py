from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pushers.servers import Nats, Server, running

from ..integration.conftest import endpoint, start_broker

__all__ = ["endpoint", "start_broker"]


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests; each has a cluster of another name."""
    pytest.importorskip("nats", reason='pip install "pybroker[nats]"')
    with running(Nats(tmp_path_factory.mktemp("nats"))) as server:
        yield server
