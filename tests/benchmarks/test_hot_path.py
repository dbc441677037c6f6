"""A message does not get more expensive unnoticed.

Instructions of the interpreter are counted, not time: the same number in each run, on any machine. The unit
is a round of a fixed loop of plain Python, so that the record holds over versions of Python.
"""

from __future__ import annotations

import pytest

from tests.harness import Broker

from .hot_path import MESSAGES, SCENARIOS, cost, publishes
from .instructions import Counter, of_the_fixed_loop
from .record import VERSIONS, key, recorded

BOUND = 1.2
RECORD_AGAIN = "If that is worth it: .venv/bin/python -m tests.benchmarks.record"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_message_costs_no_more_than_was_recorded(name: str, version: int) -> None:
    now, before = cost(name, version), recorded()[key(name, version)]
    assert now <= BOUND * before, (
        f"{key(name, version)}: a message costs {now:.2f} rounds of the fixed loop,"
        f" {now / before - 1:.0%} more than the {before:.2f} recorded. {RECORD_AGAIN}"
    )


def test_the_count_is_the_same_each_time() -> None:
    assert cost("qos1", 5) == cost("qos1", 5)


def test_the_yardstick_is_long_enough_not_to_depend_on_its_length() -> None:
    assert of_the_fixed_loop(400) == pytest.approx(of_the_fixed_loop(), rel=0.01)


def test_only_our_packages_are_counted() -> None:
    counter = Counter()
    counter.call(lambda: sorted(range(100), key=lambda number: -number))
    assert counter.instructions == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_costs_the_same_beside_many_subscriptions(version: int) -> None:
    assert _beside(1000, version) <= 1.02 * _beside(10, version)


def _beside(subscriptions: int, version: int) -> int:
    """Instructions of a read of messages while others hold that many subscriptions."""
    broker = Broker()
    for number in range(subscriptions):
        broker.connect(f"c{number}", version).subscribe(f"sensors/{number}/+/humidity")
    subscriber, publisher = broker.connect("s", version), broker.connect("p", version)
    subscriber.subscribe("sensors/+/temperature")
    data = publishes(0, version)
    publisher.send_bytes(data)
    counter = Counter()
    counter.call(publisher.channel.received, data)
    assert len(subscriber.packets()) == 2 * MESSAGES
    return counter.instructions
