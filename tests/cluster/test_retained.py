"""Each node has all retained messages, and the same."""

from __future__ import annotations

import pytest

from .support import Cluster


def same(cluster: Cluster) -> dict[str, bytes]:
    [one] = {tuple(sorted(broker.retained().items())) for broker in cluster.nodes}
    return dict(one)


def test_a_subscriber_of_another_node_gets_it() -> None:
    cluster = Cluster()
    cluster.connect(0, "p").publish("t/a", b"x", 1, retain=True, user_properties=(("k", "v"),))
    cluster.settle()
    subscriber = cluster.connect(2, "s")
    cluster.subscribe(subscriber, "t/#", qos=2)
    [message] = subscriber.messages()
    assert (message.payload, message.qos, message.retain) == (b"x", 1, True)
    assert message.properties is not None
    assert message.properties.user_properties == (("k", "v"),)


def test_it_is_cleared_everywhere() -> None:
    cluster = Cluster()
    cluster.connect(0, "p").publish("t", b"x", retain=True)
    cluster.settle()
    assert same(cluster) == {"t": b"x"}
    cluster.connect(1, "q").publish("t", b"", retain=True)
    cluster.settle()
    assert same(cluster) == {}


@pytest.mark.parametrize("cleared", [False, True])
def test_of_two_at_one_time_all_keep_the_same(cleared: bool) -> None:
    cluster = Cluster()
    publishers = [cluster.connect(index, f"p{index}") for index in range(3)]
    for n in range(20):
        for index, publisher in enumerate(publishers):
            publisher.publish(
                "t", b"" if cleared and (n + index) % 3 == 0 else b"%d %d" % (n, index), retain=True
            )
        if n % 4 == 0:
            cluster.ways.deliver_one(0, 1)
    cluster.settle()
    same(cluster)


def test_it_expires_everywhere_and_that_clears_nothing_newer() -> None:
    cluster = Cluster()
    publishers = [cluster.connect(index, f"p{index}") for index in range(2)]
    publishers[0].publish("t", b"old", retain=True, message_expiry_interval=5)
    publishers[0].publish("u", b"old", retain=True, message_expiry_interval=5)
    cluster.settle()
    cluster.clock.advance(10)
    publishers[1].publish("t", b"new", retain=True)
    for broker in cluster.nodes:
        broker.engine.retained.expire(cluster.clock.monotonic())
        broker.engine.flush()
    cluster.settle()
    assert same(cluster) == {"t": b"new"}


def test_a_node_that_comes_gets_all() -> None:
    cluster = Cluster()
    publisher = cluster.connect(1, "p")
    for n in range(100):
        publisher.publish(f"t/{n}", b"%d" % n, retain=True)
    cluster.settle()
    cluster.die(0)
    publisher.publish("t/0", b"", retain=True)
    publisher.publish("t/1", b"changed", retain=True)
    cluster.replace(0)
    assert len(same(cluster)) == 99
    assert same(cluster)["t/1"] == b"changed"


def test_what_is_on_the_disk_of_one_that_was_dead_does_not_come_back() -> None:
    cluster = Cluster(2)
    publisher = cluster.connect(1, "p")
    publisher.publish("gone", b"x", retain=True)
    publisher.publish("kept", b"x", retain=True)
    cluster.settle()
    left = {topic: cluster[0].engine.retained.get(topic) for topic in ("gone", "kept")}
    cluster.die(0)
    publisher.publish("gone", b"", retain=True)
    cluster.pass_time(100)  # longer than anybody remembers that it was cleared
    cluster.nodes[0], cluster.ends[0] = cluster.make(0, first=False)
    for topic, message in left.items():
        assert message is not None
        cluster[0].engine.retained._messages.pop(topic, None)
        cluster.ends[0].retained._applies = True
        cluster[0].engine.retained.set(topic, message)
        cluster.ends[0].retained._applies = False
    cluster.ways.enter(0, cluster.ends[0])
    cluster.settle()
    assert same(cluster) == {"kept": b"x"}
