"""What the broker says of clients that come and go."""

from __future__ import annotations

import pytest

from pybroker.broker.parts.sys_topics import SysTopics
from tests.harness import Broker


@pytest.mark.parametrize("client_id", ["x" * 65_535, "+" * 30_000])
async def test_a_client_whose_topic_would_be_too_long_is_not_told_of(
    client_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker()
    await SysTopics(broker.engine, 60).start()
    watcher = broker.connect("watcher")
    watcher.subscribe("$SYS/brokers/client_status/#")
    broker.connect(client_id).disconnect()
    watcher.nothing()
    assert caplog.records == []
    broker.connect("+")
    assert [m.topic for m in watcher.messages()] == ["$SYS/brokers/client_status/%2B"]
