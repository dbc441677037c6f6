"""Nodes that join and leave, where nobody knows them before."""

from __future__ import annotations

from pybroker.broker.cluster.node import FORGOTTEN_AFTER, Node
from tests.harness import Broker

from .support import Cluster


def joined(cluster: Cluster) -> int:
    """The index of a node that nobody has heard of."""
    index = len(cluster.nodes)
    broker, end = cluster.make(index, first=False)
    cluster.nodes.append(broker)
    cluster.ends.append(end)
    cluster.ways.enter(index, end)
    cluster.settle()
    return index


def test_a_node_that_joins_knows_all_and_is_known_by_all() -> None:
    cluster = Cluster(2, fixed=False)
    old = cluster.connect(0, "old")
    cluster.subscribe(old, "t/#", "$share/g/s", qos=1)
    old.publish("kept", b"x", 1, retain=True)
    cluster.settle()
    late = joined(cluster)
    assert cluster.nodes[late].retained() == {"kept": b"x"}
    assert cluster.ends[late].is_ready
    new = cluster.connect(late, "new")
    cluster.subscribe(new, "u", qos=1)
    new.publish("t/1", b"from new", 1)
    new.publish("s", b"to the group", 1)
    old.publish("u", b"from old", 1)
    cluster.settle()
    assert [one.payload for one in old.messages()] == [b"from new", b"to the group"]
    assert [one.payload for one in new.messages()] == [b"from old"]


def test_a_node_that_stays_away_is_forgotten() -> None:
    cluster = Cluster(3, fixed=False)
    cluster.subscribe(cluster.connect(2, "s"), *(f"t/{n}" for n in range(5)), "$share/g/t", qos=1)
    cluster.die(2)
    assert not cluster.ends[0].is_ready
    cluster.nodes, cluster.ends = cluster.nodes[:2], cluster.ends[:2]
    publisher = cluster.connect(0, "p")
    for topic, qos in (("t/1", 1), ("t/1", 0), ("t/1", 0), ("t/2", 2), ("t", 1)):
        publisher.publish(topic, b"x", qos)
    cluster.settle()
    for _ in range(round(FORGOTTEN_AFTER) + 5):
        cluster.pass_time(1.0)
    for end in cluster.ends:
        assert set(end.peers) == {"0", "1"} - {end.name}
        assert len(end.engine.router) == end.engine.router.elsewhere == 0
        assert end.is_ready
    assert cluster.nodes[0].engine.counters.dropped["neighbour_gone"] == 5


def test_a_node_that_was_forgotten_and_lives_begins_anew() -> None:
    """It was stopped for so long that the others took it for dead."""
    cluster = Cluster(2, fixed=False)
    subscribers = [cluster.connect(index, f"s{index}") for index in range(2)]
    for subscriber in subscribers:
        cluster.subscribe(subscriber, "t", qos=1)
    publisher = cluster.connect(0, "p")
    for n in range(3):
        publisher.publish("t", b"before %d" % n, 1)
    cluster.settle()
    cluster.ways.cut(0, 1)
    for _ in range(round(FORGOTTEN_AFTER) + 5):
        cluster.pass_time(1.0)
    assert not cluster.ends[0].peers
    assert not cluster.ends[1].peers
    publisher.publish("t", b"alone", 1)
    cluster.ways.join(0, 1)
    cluster.settle()
    cluster.pass_time(3.0)
    for n in range(3):
        publisher.publish("t", b"after %d" % n, 1)
    cluster.settle()
    before, after = ([b"%s %d" % (when, n) for n in range(3)] for when in (b"before", b"after"))
    assert [one.payload for one in subscribers[0].messages()] == [*before, b"alone", *after]
    assert [one.payload for one in subscribers[1].messages()] == [*before, *after]


def test_one_side_forgets_and_the_other_does_not() -> None:
    cluster = Cluster(2, fixed=False)
    subscriber = cluster.connect(1, "s")
    cluster.subscribe(subscriber, "t", qos=1)
    publisher = cluster.connect(0, "p")
    for n in range(40):
        publisher.publish("t", b"%d" % n, 1)
        cluster.settle()
    cluster.ways.cut(0, 1)
    cluster.ends[1].alone(True)
    publisher.publish("t", b"lost", 1)
    for _ in range(round(FORGOTTEN_AFTER) + 5):
        cluster.pass_time(1.0)
    assert not cluster.ends[0].peers
    assert set(cluster.ends[1].peers) == {"0"}
    cluster.ends[1].alone(False)
    cluster.ways.join(0, 1)
    cluster.settle()
    for n in range(40, 80):
        publisher.publish("t", b"%d" % n, 1)
        cluster.settle()
    assert [one.payload for one in subscriber.messages()] == [b"%d" % n for n in range(80)]


def test_while_the_bus_is_broken_messages_wait() -> None:
    cluster = Cluster(2, fixed=False)
    subscriber = cluster.connect(1, "s")
    cluster.subscribe(subscriber, "t", qos=1)
    publisher = cluster.connect(0, "p")
    cluster.ways.cut(0, 1)
    for end in cluster.ends:
        end.alone(True)
    for n in range(60):
        publisher.publish("t", b"%d" % n, 1)
        cluster.pass_time(60.0)
    for end in cluster.ends:
        end.alone(False)
    cluster.ways.join(0, 1)
    cluster.settle()
    assert [one.payload for one in subscriber.messages()] == [b"%d" % n for n in range(60)]


def test_the_first_by_name_of_those_that_are_there() -> None:
    cluster = Cluster(3, fixed=False)
    assert [end.is_first for end in cluster.ends] == [True, False, False]
    cluster.die(0)
    assert [end.is_first for end in cluster.ends[1:]] == [True, False]


def test_limits_of_connections_are_each_nodes_own() -> None:
    cluster = Cluster(2, fixed=False)
    for n in range(5):
        cluster.connect(0, f"c{n}")
    cluster.pass_time(2.0)
    assert cluster.ends[1].peers["0"].numbers["connected"] == 5
    assert cluster.nodes[1].engine.connected_elsewhere == 0


def test_nodes_that_begin_with_other_messages_from_disk_agree() -> None:
    """Nobody knows which is later, but all keep the same."""
    cluster = Cluster(2, fixed=False)
    ways = cluster.ways
    for index in range(2):
        ways.leave(index)
    for index in range(2):
        broker = Broker(clock=cluster.clock)
        broker.connect("p").publish("both", b"of %d" % index, 1, retain=True)
        broker.connect("q").publish(f"only {index}", b"x", 1, retain=True)
        end = Node(broker.engine, str(index), 77 + 1000 * index)
        end.start()
        cluster.nodes[index], cluster.ends[index] = broker, end
    for index in range(2):
        ways.enter(index, cluster.ends[index])
    cluster.settle()
    assert cluster.nodes[0].retained() == cluster.nodes[1].retained()
    assert set(cluster.nodes[0].retained()) == {"both", "only 0", "only 1"}


def test_what_cannot_be_read_is_said_and_ignored(caplog) -> None:
    cluster = Cluster(2, fixed=False)
    subscriber = cluster.connect(1, "s")
    cluster.subscribe(subscriber, "t")
    for junk in (b"junk", b"\xff\0\0\0\0", b"\x09\1\0\0\0\xff", b"\x0d\1\0\0\0{"):
        cluster.ends[0].peers["1"].link.write_all([junk])
        cluster.settle()
    assert caplog.text.count("node 0 has sent what cannot be read") == 4
    cluster.connect(0, "p").publish("t", b"x")
    cluster.settle()
    assert [one.payload for one in subscriber.messages()] == [b"x"]
