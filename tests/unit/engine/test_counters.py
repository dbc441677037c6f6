"""What the engine counts is what passes over the wire."""

from __future__ import annotations

import pytest

from tests.harness import Broker, FakeLink


def test_the_bytes_that_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    write = FakeLink.write

    def counted(link: FakeLink, data: bytes) -> None:
        nonlocal written
        written += len(data)
        write(link, data)

    monkeypatch.setattr(FakeLink, "write", counted)
    broker = Broker()
    subscriber, publisher = broker.connect("s"), broker.connect("p")
    subscriber.subscribe("a", qos=1)
    for payload in (b"x", bytes(100), bytes(20_000)):
        publisher.publish("a", payload, qos=1)
        publisher.publish("a", payload)
    assert broker.engine.counters.bytes_sent == written > 40_200
