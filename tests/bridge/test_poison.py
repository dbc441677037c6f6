"""A message to which the remote broker answers by closing the connection."""

from __future__ import annotations

import pytest

from pybroker.broker.bridge.poison import LINKS, SOON, Poison
from pybroker.broker.events import MessageAcked, MessageDropped
from pybroker.broker.packets.encoder import make_publish
from pybroker.broker.session.inflight import Outgoing

from .network import Network


def message(qos: int = 1) -> Outgoing:
    return Outgoing(make_publish("t", b"x", qos=qos), qos)


def ends(poison: Poison, first: Outgoing | None, *, sent_for: float | None = 0.1, there: bool = True) -> bool:
    return poison.link_ended(first, sent_for=sent_for, closed_there=there) is not None


def test_a_message_is_given_up_after_some_links_and_a_last_one_that_stood_without_it() -> None:
    poison, first = Poison(), message()
    for _ in range(LINKS):
        assert poison.hold == 0
        assert not ends(poison, first)
    assert poison.hold == SOON
    assert poison.link_ended(first, sent_for=0.1, closed_there=True) is first
    assert poison.hold == 0


@pytest.mark.parametrize(
    "how", [{"sent_for": None}, {"sent_for": SOON + 1}, {"there": False}], ids=["held", "long", "closed here"]
)
def test_what_ends_a_link_for_another_reason_counts_anew(how: dict[str, float]) -> None:
    poison, first = Poison(), message()
    for _ in range(3):
        for _ in range(LINKS):
            assert not ends(poison, first)
        assert not ends(poison, first, **how)  # type: ignore[arg-type]
        assert poison.hold == 0


def test_another_message_counts_anew() -> None:
    poison = Poison()
    for first in (message(), message(), None, message()):
        for _ in range(LINKS - 1):
            assert not ends(poison, first)
    assert poison.hold == 0


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
def test_the_others_arrive(version: int, qos: int, caplog: pytest.LogCaptureFixture) -> None:
    network = Network("edge", "cloud")
    network.poison = b"poison"
    edge, cloud = network["edge"], network["cloud"]
    told: list[str] = []
    hooks = edge.broker.engine.hooks
    hooks.observe(MessageDropped, lambda event: told.append(f"{event.reason} {event.payload.decode()}"))
    hooks.observe(MessageAcked, lambda event: told.append("acked") if b"poison" in event.payload else None)
    bridge = edge.bridge_to(cloud, version, into=None)
    network.run()
    for payload in ("before", "poison", "after"):
        edge.publish(payload, qos=qos)
        network.run()
    links = 1
    while "after" not in (got := cloud.got()):
        links += 1
        network.connect(bridge, cloud)
        network.run()
        network.advance(SOON)
        network.run()
        assert links < 3 * LINKS, got
    assert links == LINKS + 2
    assert told == ["refused poison"]
    assert bridge.counters.dropped["closes_link"] == 1
    lines = [one for one in caplog.records if one.name == "pybroker.bridge" and one.levelname == "ERROR"]
    (line,) = [one.getMessage() for one in lines]
    assert f'the message of QoS {qos} to "t" (6 bytes)' in line
