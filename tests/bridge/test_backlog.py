"""What publishers notice of a bridge whose queue is full."""

from __future__ import annotations

import pytest

from pybroker.broker.bridge.backlog import STALLED
from pybroker.broker.bridge.bridge import Bridge
from pybroker.broker.engine.publish import STORAGE_RETRY
from pybroker.broker.packets.model import Puback, Pubrec
from pybroker.broker.session.session import Session
from tests.harness import Client

from .network import LOOP, Network, Site

ROOM = 7
"""Messages that the bridge takes: two in flight, and five that wait."""


def edge_and_cloud(when_full: str, version: int = 5) -> tuple[Network, Site, Bridge]:
    network = Network("edge")
    network.sites["cloud"] = Site(network, "cloud", receive_maximum=2)
    edge, cloud = network["edge"], network["cloud"]
    bridge = edge.bridge_to(cloud, version, out="up/#", into=None, max_queue=5, when_full=when_full)
    network.run()
    return network, edge, bridge


def burst(client: Client, qos: int, topic: str = "up/x", count: int = 20) -> None:
    for number in range(count):
        client.send_publish(topic, b"%d" % number, qos)


def answers(client: Client) -> int:
    return sum(isinstance(one, Puback | Pubrec) for one in client.packets())


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("when_full", ["wait", "wait_always"])
def test_publishers_wait_until_there_is_room(qos: int, when_full: str) -> None:
    network, edge, _ = edge_and_cloud(when_full)
    burst(edge.publisher, qos)
    assert answers(edge.publisher) == ROOM
    assert not edge.publisher.link.reading
    other = edge.broker.connect("other", 4)
    for topic in ("local/x", "up/x"):
        burst(other, 0, topic)
    burst(other, 1, "local/x")
    assert answers(other) == 20, "whoever does not publish to the bridge does not wait"
    network.run()
    assert answers(edge.publisher) == 20 - ROOM
    assert edge.publisher.link.reading
    got = [one.payload for one in network["cloud"].reader.messages() if one.qos == qos]
    assert got == [b"%d" % number for number in range(20)]
    assert edge.broker.dropped("queue_full") == 0
    assert not edge.broker.engine.restricts_publish, "nothing is looked at any more"


def test_without_a_link_what_finds_no_room_is_dropped() -> None:
    _, edge, bridge = edge_and_cloud("wait")
    assert bridge.uplink is not None
    bridge.uplink.end("cut")
    burst(edge.publisher, 1)
    assert answers(edge.publisher) == 20
    assert edge.broker.dropped("queue_full") == 15


def test_those_that_wait_go_on_when_the_link_is_lost() -> None:
    network, edge, bridge = edge_and_cloud("wait")
    burst(edge.publisher, 1)
    assert bridge.uplink is not None
    bridge.uplink.end("cut")
    network.wait()
    assert answers(edge.publisher) == 20
    assert edge.broker.dropped("queue_full") == 20 - ROOM


def test_wait_always_waits_for_a_link() -> None:
    network, edge, bridge = edge_and_cloud("wait_always")
    assert bridge.uplink is not None
    bridge.uplink.end("cut")
    burst(edge.publisher, 1)
    network.wait()
    network.advance(10 * STALLED)
    network.wait()
    assert answers(edge.publisher) == 5
    network.connect(bridge, network["cloud"])
    network.run()
    assert answers(edge.publisher) == 15
    assert len(network["cloud"].got()) == 20


def test_drop() -> None:
    network, edge, _ = edge_and_cloud("drop")
    burst(edge.publisher, 1)
    assert answers(edge.publisher) == 20
    assert edge.broker.dropped("queue_full") == 20 - ROOM
    network.run()
    assert len(network["cloud"].got()) == ROOM


def test_a_remote_broker_that_answers_nothing_stops_publishers_for_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network, edge, _ = edge_and_cloud("wait")
    burst(edge.publisher, 1)
    network.advance(STALLED - 1)
    network.wait()
    assert answers(edge.publisher) == ROOM
    network.advance(2)
    network.wait()
    assert answers(edge.publisher) == 20 - ROOM
    assert edge.broker.dropped("queue_full") == 20 - ROOM
    (line,) = [one.getMessage() for one in caplog.records if one.name == "pybroker.bridge"]
    assert "has been full for 60 seconds" in line
    network.run()  # it moves again, so others wait again
    burst(edge.publisher, 1)
    assert answers(edge.publisher) == ROOM


def test_a_message_too_large_for_the_queue_waits_for_nothing() -> None:
    _, edge, _ = edge_and_cloud("wait")
    burst(edge.publisher, 1, count=3)
    edge.broker.engine.sender.max_bytes = 1000
    session = edge.broker.engine.sessions.get("$bridge/cloud")
    assert session is not None
    assert session.queue is not None
    session.queue.max_bytes = 1000
    edge.publisher.send_publish("up/x", bytes(2000), 1)
    assert answers(edge.publisher) == 4
    assert edge.broker.dropped("queue_full") == 1


def test_what_a_bridge_brings_waits_for_another_one() -> None:
    """And so it is not acknowledged to the broker that it came from."""
    network, edge, _ = edge_and_cloud("wait")
    source = network.sites["source"] = Site(network, "source")
    edge.bridge_to(source, 5, out=None, into="up/#")
    network.run()
    burst(edge.publisher, 1, count=ROOM)
    network.wires.clear()  # the cloud takes nothing
    burst(source.publisher, 1)
    network.run()
    waiting = source.broker.engine.sessions.get("edge.source")
    assert waiting is not None
    assert len(waiting.inflight) == 20
    assert edge.broker.dropped("queue_full") == 0


def test_two_full_bridges_do_not_wait_for_each_other() -> None:
    network = Network("middle")
    middle = network["middle"]
    for name in ("left", "right"):
        network.sites[name] = Site(network, name, receive_maximum=2)
        middle.bridge_to(network[name], 5, max_queue=5)
    network.run()
    for name in ("left", "right"):
        for number in range(200):
            network[name].publish(f"{name} {number}", qos=1)
    network.run()
    for name in ("left", "right"):
        assert len(network[name].got()) >= 200
    assert not any(session.queue for session in middle.broker.engine.sessions)


def test_a_bridge_that_ends_lets_everybody_go_on() -> None:
    network, edge, _ = edge_and_cloud("wait_always")
    burst(edge.publisher, 1)

    async def remove() -> None:
        edge.bridges.remove("cloud")

    LOOP.run_until_complete(remove())
    network.wait()
    assert answers(edge.publisher) == 20
    assert not edge.broker.engine.restricts_publish


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
def test_what_the_storage_cannot_take_is_not_acknowledged_to_the_remote_broker(
    version: int, qos: int
) -> None:
    network = Network("edge", "cloud")
    edge, cloud = network["edge"], network["cloud"]
    edge.bridge_to(cloud, version, out=None)
    network.run()
    engine = edge.broker.engine
    storage = engine.storage = FullStorage()
    engine.restrict()
    cloud.publisher.send_publish("t", b"kept", qos, retain=True)
    network.run()
    assert edge.got() == []
    session = cloud.broker.engine.sessions.get("edge.cloud")
    assert session is not None
    assert len(session.inflight) == 1
    storage.full = False
    engine.restrict()
    network.advance(STORAGE_RETRY)
    network.run()
    assert edge.got() == ["kept"]
    assert not session.inflight.messages
    assert edge.broker.dropped("quota_exceeded") == 0


class FullStorage:
    full = True

    def bound(self, session: Session) -> None: ...


def test_a_link_from_which_nothing_is_read_is_not_taken_for_a_dead_one() -> None:
    network, edge, _ = edge_and_cloud("wait_always")
    source = network.sites["source"] = Site(network, "source")
    bridge = edge.bridge_to(source, 5, out=None, into="up/#", keepalive=10)
    network.run()
    burst(edge.publisher, 1, count=ROOM)
    network.wires.clear()  # the cloud takes nothing
    burst(source.publisher, 1)
    network.run()
    for _ in range(5):
        network.advance(5)
        network.wires.clear()  # PINGRESP is not read
    assert bridge.uplink is not None
