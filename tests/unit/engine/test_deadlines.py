"""When connections are looked at."""

from __future__ import annotations

import pytest

from pybroker.broker.config.settings import Limits
from pybroker.broker.engine.turns import TURN
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker


@pytest.mark.parametrize("keepalive", [1, 7, 10, 600, 65_535])
@pytest.mark.parametrize("version", [4, 5])
def test_a_silent_client_is_closed_in_time(keepalive: int, version: int) -> None:
    broker = Broker()
    client = broker.connect("c", version, keepalive=keepalive)
    broker.clock.advance(keepalive * 1.25)
    client.nothing()
    broker.clock.advance(keepalive * 0.25 + 0.25)
    client.closed(ReasonCode.KEEP_ALIVE_TIMEOUT)


@pytest.mark.parametrize("at", [0.0, 0.1, 3.9])
def test_a_short_keepalive_does_not_wait_for_the_longer_time_of_connect(at: float) -> None:
    broker = Broker(limits=Limits(connect_timeout=60))
    client = broker.dial()
    broker.clock.advance(at)
    client.connect(keepalive=2)
    broker.clock.advance(2.9)
    client.nothing()
    broker.clock.advance(0.35)
    client.closed(ReasonCode.KEEP_ALIVE_TIMEOUT)


def test_who_says_something_stays() -> None:
    broker = Broker()
    client = broker.connect("c", keepalive=10)
    for _ in range(100):
        broker.clock.advance(14.9)
        client.ping()
    broker.clock.advance(15.25)
    client.closed(ReasonCode.KEEP_ALIVE_TIMEOUT)


def test_nothing_is_kept_of_connections_that_are_gone() -> None:
    broker = Broker()
    deadlines = broker.engine.deadlines
    before = len(broker.clock._timers)
    for number in range(500):
        broker.connect("c", keepalive=number + 1).disconnect()
        broker.dial().drop()
    assert len(deadlines._ticks) == 0
    assert len(broker.clock._timers) <= before + 5
    client = broker.connect("c", keepalive=0)
    assert len(deadlines._ticks) == 0
    broker.clock.advance(1e6)
    client.nothing()


def test_many_that_are_due_at_once_do_not_hold_up_the_others() -> None:
    broker = Broker()
    clients = [broker.connect(f"c{number}", keepalive=10) for number in range(20)]
    now = 0.0

    def busy() -> float:
        nonlocal now
        now += TURN / 4
        return now

    broker.engine.turns.now = busy
    broker.clock.advance(16)
    closed = sum(client.is_closed for client in clients)
    assert 0 < closed < 20
    rounds = 0
    while broker.waiting:
        broker.answer()
        rounds += 1
    assert all(client.is_closed for client in clients)
    assert rounds >= 1


def test_one_that_cannot_be_looked_at_does_not_keep_the_others_for_ever() -> None:
    broker = Broker()
    broken, client = (broker.connect(name, keepalive=10) for name in "ab")

    def fail() -> None:
        raise RuntimeError("broken")

    broken.link.close = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="broken"):
        broker.clock.advance(16)
    broker.clock.advance(1)
    assert client.is_closed
