from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .support import Endpoint, RunningBroker

LISTENER = 'listeners.tcp { bind = "127.0.0.1:0" }\n'


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., RunningBroker]]:
    """Starts a broker with the given configuration on a free port; all are stopped after the test."""
    started: list[RunningBroker] = []

    def start(conf: str = "", *flags: str, listener: str = LISTENER) -> RunningBroker:
        directory = tmp_path / f"broker{len(started)}"
        directory.mkdir()
        broker = RunningBroker(directory, listener + conf, *flags)
        started.append(broker)
        return broker

    yield start
    for broker in started:
        broker.stop()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    yield server
    server.close()
