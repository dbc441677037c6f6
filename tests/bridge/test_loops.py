"""No message goes round for ever, and where it can be known none comes twice: rings, meshes and double
bridges of real brokers without sockets."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from pybroker.broker.bridge.loops import EQUAL, MOST_COUNTED, ROUNDS, SAMPLE, _Circles
from pybroker.broker.bridge.tally import MOST, Tally
from pybroker.broker.events import MessageDropped

from .network import Network

NAMES = "abcd"


def ring(*versions: int, **options: object) -> Network:
    network = Network(*NAMES[: len(versions)])
    network.ring(*versions, **options)
    return network


def mesh(version: int) -> Network:
    network = Network(*NAMES)
    for one, other in combinations(network.sites.values(), 2):
        one.bridge_to(other, version)
    network.run()
    return network


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_passes_a_ring_of_5_0_once(size: int, qos: int) -> None:
    network = ring(*[5] * size)
    for number, site in enumerate(network.sites.values()):
        for payload in (f"from {number}", "1", "1"):
            site.publish(payload, qos=qos)
            network.run()
            for reader in network.sites.values():
                assert reader.got() == [payload]


def test_a_message_passes_a_mesh_of_5_0_once() -> None:
    network = mesh(5)
    for site in network.sites.values():
        site.publish("1")
        network.run()
        for reader in network.sites.values():
            assert reader.got() == ["1"]


@pytest.mark.parametrize(("out", "into"), [("#", None), (None, "#")])
def test_a_ring_of_5_0_in_one_direction(out: str | None, into: str | None) -> None:
    network = ring(5, 5, 5, out=out, into=into)
    for site in network.sites.values():
        site.publish("1")
        network.run()
        for reader in network.sites.values():
            # Whoever published it may see it come back, and then it is at its end.
            assert reader.got() in (["1"], *([["1", "1"]] if reader is site else []))


@pytest.mark.parametrize("versions", [v for size in (2, 3, 4) for v in product((4, 5), repeat=size)])
def test_rings_with_3_1_1(versions: tuple[int, ...]) -> None:
    """The first messages go round some times. Once that is known, all pass once."""
    network = ring(*versions)
    for number, site in enumerate(network.sites.values()):
        site.publish(f"first of {number}")
        network.run()
        for reader in network.sites.values():
            assert 1 <= len(reader.got()) <= 3 * ROUNDS
    for number in range(2 * SAMPLE):
        for site in network.sites.values():
            site.publish(f"{number} of {site.name}")
            network.run()
    for reader in network.sites.values():
        reader.got()
    network.advance(2 * EQUAL)
    for second in range(5):
        for site in network.sites.values():
            # Each value comes again and again; the publishers send different ones.
            site.publish(f"on {site.name}", qos=second % 3)
            network.run()
            for reader in network.sites.values():
                assert reader.got() == [f"on {site.name}"]
        network.advance(1)


def test_a_mesh_of_3_1_1_stops_repeating_messages() -> None:
    network = mesh(4)
    for number in range(SAMPLE):
        network["a"].publish(str(number))
        network.run()
        for reader in network.sites.values():
            assert str(number) in reader.got()


@pytest.mark.parametrize("version", [4, 5])
def test_equal_messages_of_different_brokers_are_not_taken_for_copies(version: int) -> None:
    """A tree: the bridges do not meet again, and both ends send the same value on purpose."""
    network = Network("left", "middle", "right")
    for side in ("left", "right"):
        network["middle"].bridge_to(network[side], version)
    network.run()
    for _ in range(100):
        for side in ("left", "right"):
            network[side].publish("1")
            network.run()
        network.advance(1)
    for reader in network.sites.values():
        assert len(reader.got()) == 200


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 2])
def test_two_bridges_to_one_broker(version: int, qos: int) -> None:
    network = Network("edge", "cloud")
    for name in ("one", "two"):
        network["edge"].bridge_to(network["cloud"], version, name=name)
    network.run()
    for publisher in network.sites.values():
        for payload in ("1", "1", "2"):
            publisher.publish(payload, qos=qos)
            network.run()
            for reader in network.sites.values():
                assert reader.got() == [payload]


def test_a_copy_is_counted_and_told() -> None:
    network = ring(5, 5, 5)
    told: list[str] = []
    for site in network.sites.values():
        site.broker.engine.hooks.observe(MessageDropped, lambda event: told.append(event.reason))
    network["a"].publish("1", qos=1)
    network.run()
    dropped = [site.broker.dropped("loop") for site in network.sites.values()]
    assert sum(dropped) == told.count("loop") > 0
    counted = [
        bridge.counters.dropped["loop"]
        for site in network.sites.values()
        for bridge in site.bridges.all.values()
    ]
    assert sum(counted) > 0


def test_topics_that_only_go_out_are_not_looked_at() -> None:
    """What cannot loop costs nothing: such messages get no identifier."""
    network = Network("edge", "one", "two")
    network["edge"].bridge_to(network["one"], 5, out="up/#", into="down/#")
    network["edge"].bridge_to(network["two"], 5, out="other/#", into=None)
    network.run()
    loops = network["edge"].broker.engine.loops
    assert loops is not None
    for topic in ("up/x", "down/x", "other/x", "local"):
        assert not network["edge"].broker.engine.hooks.published_observers(topic)


def test_what_is_remembered_is_bounded() -> None:
    tally = Tally(10)
    for number in range(3 * MOST):
        tally.add(number, "way", now=0)
    assert len(tally) <= 2 * MOST + 2
    circles = _Circles()
    for number in range(3 * MOST_COUNTED):
        circles.see("way", number, False, 0)
    assert len(circles._came) <= MOST_COUNTED + 1


def test_a_message_is_remembered_for_some_seconds() -> None:
    tally = Tally(10)
    tally.add(1, "left", now=0)
    assert tally.is_behind("right", 1, 9.9)
    assert tally.is_behind("right", 1, 10.1)
    assert not tally.is_behind("left", 1, 10.1)
    tally.catch_up("right", 1)
    assert not tally.is_behind("right", 1, 10.1)
    assert not tally.has(1, 30)
