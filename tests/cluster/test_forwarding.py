"""Messages from a client of one node to clients of others."""

from __future__ import annotations

from collections import Counter

import pytest

from pybroker.broker.packets.model import Suback, Subscribe, SubscribeFilter
from pybroker.broker.packets.reasons import ReasonCode

from .support import Cluster


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_reaches_subscribers_of_all_nodes_once(qos: int, version: int) -> None:
    cluster = Cluster()
    subscribers = [cluster.connect(i, f"s{i}", version) for i in range(3)]
    for one in subscribers:
        cluster.subscribe(one, "a/+", "a/b", qos=2)
    publisher = cluster.connect(0, "p", version)
    publisher.publish("a/b", b"hello", qos)
    cluster.settle()
    for one in subscribers:
        [message] = one.messages()
        assert (message.payload, message.qos, message.retain) == (b"hello", qos, False)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("there", [4, 5])
@pytest.mark.parametrize("here", [4, 5])
def test_a_run_keeps_its_order(here: int, there: int, qos: int) -> None:
    cluster = Cluster(2)
    subscriber = cluster.connect(1, "s", there)
    cluster.subscribe(subscriber, "t", qos=2)
    publisher = cluster.connect(0, "p", here)
    publisher.publish("t", b"first", qos)
    cluster.settle()
    assert subscriber.payloads() == [b"first"]
    publisher.send_bytes(_publishes(here, qos, 50))
    cluster.settle()
    assert subscriber.payloads() == [b"%02d" % n for n in range(50)]


def _publishes(version: int, qos: int, count: int) -> bytes:
    from pybroker.broker.packets.encoder import make_publish

    return b"".join(
        make_publish("t", b"%02d" % n, qos=qos, packet_id=n + 100 if qos else 0, version=version).wire
        for n in range(count)
    )


def test_what_nobody_else_wants_is_sent_to_nobody_else() -> None:
    cluster = Cluster()
    cluster.subscribe(cluster.connect(0, "s"), "here/#")
    publisher = cluster.connect(0, "p")
    before = cluster.ways.delivered
    publisher.publish("here/a", b"x")
    publisher.publish("nowhere", b"x")
    cluster.settle()
    assert cluster.ways.delivered == before


def test_the_publisher_is_told_whether_anybody_anywhere_subscribes() -> None:
    cluster = Cluster(2)
    publisher, subscriber = cluster.connect(0, "p"), cluster.connect(1, "s")
    assert publisher.publish("t", qos=1) == ReasonCode.NO_MATCHING_SUBSCRIBERS
    cluster.subscribe(subscriber, "t")
    assert publisher.publish("t", qos=1) == ReasonCode.SUCCESS
    subscriber.unsubscribe("t")
    cluster.settle()
    assert publisher.publish("t", qos=1) == ReasonCode.NO_MATCHING_SUBSCRIBERS


def test_suback_waits_until_the_others_know() -> None:
    cluster = Cluster(2)
    subscriber, publisher = cluster.connect(0, "s"), cluster.connect(1, "p")
    subscriber.send(Subscribe(1, [SubscribeFilter("t", 1)]))
    subscriber.nothing()
    cluster.settle()
    subscriber.next(Suback)
    publisher.publish("t", b"x", 1)
    cluster.settle()
    assert subscriber.payloads() == [b"x"]


def test_options_of_the_subscription_hold_where_it_is() -> None:
    cluster = Cluster(2)
    plain, published = cluster.connect(1, "a"), cluster.connect(1, "b")
    cluster.subscribe(plain, "t", qos=1)
    cluster.subscribe(published, "t", qos=2, retain_as_published=True)
    cluster.connect(0, "p").publish("t", b"x", 2, retain=True)
    cluster.settle()
    assert [(m.qos, m.retain) for m in plain.messages()] == [(1, False)]
    assert [(m.qos, m.retain) for m in published.messages()] == [(2, True)]


def test_no_local_is_about_the_client_itself() -> None:
    cluster = Cluster(2)
    client, other = cluster.connect(0, "c"), cluster.connect(1, "d")
    for one in (client, other):
        cluster.subscribe(one, "t", no_local=True)
    client.publish("t", b"x")
    cluster.settle()
    client.nothing()
    assert other.payloads() == [b"x"]


def test_properties_go_along() -> None:
    cluster = Cluster(2)
    subscriber = cluster.connect(1, "s")
    cluster.subscribe(subscriber, "t", qos=1)
    publisher = cluster.connect(0, "p")
    properties = {"content_type": "text/plain", "user_properties": (("a", "b"),), "response_topic": "r"}
    for qos in (0, 1):
        publisher.publish("t", b"x", qos, message_expiry_interval=60, topic_alias=1, **properties)
    cluster.settle()
    for message in subscriber.messages():
        assert message.properties is not None
        assert message.properties.content_type == "text/plain"
        assert message.properties.user_properties == (("a", "b"),)
        assert message.properties.topic_alias is None
        assert message.properties.message_expiry_interval == 60


def test_a_message_expires_where_it_waits() -> None:
    cluster = Cluster(2)
    subscriber = cluster.connect(1, "s", session_expiry_interval=1000)
    cluster.subscribe(subscriber, "t", qos=1)
    subscriber.drop()
    publisher = cluster.connect(0, "p")
    publisher.publish("t", b"short", 1, message_expiry_interval=5)
    publisher.publish("t", b"long", 1, message_expiry_interval=50)
    cluster.settle()
    cluster.pass_time(10)
    assert subscriber.again().payloads() == [b"long"]


def test_subscriptions_of_others_are_not_counted_as_ours() -> None:
    cluster = Cluster(2)
    subscriber = cluster.connect(1, "s")
    cluster.subscribe(subscriber, "t", "u", "$share/g/t")
    assert [len(broker.engine.router) for broker in cluster.nodes] == [0, 3]
    subscriber.disconnect()
    cluster.settle()
    assert [len(broker.engine.router) for broker in cluster.nodes] == [0, 0]


@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_sent_is_counted_once(qos: int) -> None:
    cluster = Cluster()
    for index in range(3):
        cluster.subscribe(cluster.connect(index, f"s{index}"), "t", qos=1)
    publisher = cluster.connect(0, "p")
    for _ in range(10):
        publisher.publish("t", b"x", qos)
        cluster.settle()
    counters = [broker.engine.counters for broker in cluster.nodes]
    assert sum(one.publish_received for one in counters) == 10
    assert sum(one.publish_sent for one in counters) == 30


def test_each_message_of_a_shared_group_goes_to_one_member_and_each_has_its_share() -> None:
    cluster = Cluster()
    members = [
        cluster.connect(index, f"m{index}{n}") for index, many in enumerate((1, 2, 3)) for n in range(many)
    ]
    for member in members:
        cluster.subscribe(member, "$share/g/t/#", qos=1)
    publishers = [cluster.connect(index, f"p{index}") for index in range(3)]
    for n in range(600):
        publishers[n % 3].publish(f"t/{n}", b"%d" % n, n % 2)
    cluster.settle()
    got = [[int(payload) for payload in member.payloads()] for member in members]
    assert sorted(n for some in got for n in some) == list(range(600))
    assert all(60 <= len(some) <= 140 for some in got), [len(some) for some in got]


def test_a_shared_group_prefers_members_that_are_connected_wherever_they_are() -> None:
    cluster = Cluster(2)
    away = cluster.connect(0, "away", session_expiry_interval=1000)
    here = cluster.connect(1, "here")
    for member in (away, here):
        cluster.subscribe(member, "$share/g/t", qos=1)
    away.drop()
    cluster.settle()
    for index in range(2):
        publisher = cluster.connect(index, f"p{index}")
        for _ in range(3):
            publisher.publish("t", b"x", 1)
    cluster.settle()
    assert len(here.payloads()) == 6
    here.disconnect()
    cluster.settle()
    cluster.connect(1, "q").publish("t", b"kept", 1)
    cluster.settle()
    assert away.again().payloads() == [b"kept"]


def test_messages_of_a_member_that_goes_are_passed_on_to_other_nodes() -> None:
    cluster = Cluster(2)
    goes, stays = cluster.connect(0, "goes", receive_maximum=1), cluster.connect(1, "stays")
    cluster.subscribe(goes, "$share/g/t", qos=1)
    publisher = cluster.connect(0, "p")
    for n in range(5):
        publisher.publish("t", b"%d" % n, 1)
    cluster.subscribe(stays, "$share/g/t", qos=1)
    goes.drop()
    cluster.settle()
    assert stays.payloads() == [b"%d" % n for n in range(5)]


def test_a_message_for_a_member_that_has_just_gone_is_handed_on_or_counted() -> None:
    cluster = Cluster()
    first, second = cluster.connect(1, "first"), cluster.connect(2, "second")
    for member in (first, second):
        cluster.subscribe(member, "$share/g/t", qos=1)
    publisher = cluster.connect(0, "p")
    first.disconnect()  # and node 0 does not know it yet
    for _ in range(4):
        publisher.publish("t", b"x", 1)
    cluster.settle()
    assert len(second.payloads()) == 4
    second.disconnect()
    publisher.publish("t", b"x", 1)
    cluster.settle()
    assert sum(broker.dropped("no_subscribers") for broker in cluster.nodes) == 1


def test_wills_reach_other_nodes() -> None:
    from pybroker.broker.packets.model import Will

    cluster = Cluster(2)
    watcher = cluster.connect(1, "w")
    cluster.subscribe(watcher, "wills/#")
    cluster.connect(0, "c", will=Will("wills/c", b"gone", retain=True)).drop()
    cluster.settle()
    assert watcher.payloads() == [b"gone"]
    assert [broker.retained() for broker in cluster.nodes] == [{"wills/c": b"gone"}] * 2


def test_limits_count_clients_of_all_nodes() -> None:
    from pybroker.broker.config.settings import Limits

    cluster = Cluster(2, limits=Limits(max_connections=3))
    clients = [cluster.connect(n % 2, f"c{n}") for n in range(3)]
    cluster.pass_time(1)
    for broker in cluster.nodes:
        assert broker.dial().connect("x").reason == ReasonCode.QUOTA_EXCEEDED
    clients[0].disconnect()
    cluster.pass_time(1)
    cluster.connect(1, "y")


def test_observers_see_each_message_where_it_is_published() -> None:
    from pybroker.broker.events import MessageDelivered, MessagePublished

    cluster = Cluster(2)
    seen: Counter[tuple[int, str]] = Counter()
    publishers: list[str] = []
    for index, broker in enumerate(cluster.nodes):
        hooks = broker.engine.hooks
        hooks.observe(MessagePublished, lambda event, index=index: seen.update([(index, "published")]))
        hooks.observe(
            MessageDelivered,
            lambda event, index=index: (
                seen.update([(index, "delivered")]),
                publishers.append(event.publisher.client_id),
            ),
        )
        broker.engine.router.forget_all_routes()
    subscriber = cluster.connect(1, "s")
    cluster.subscribe(subscriber, "t", qos=1)
    first, second = cluster.connect(0, "p"), cluster.connect(0, "q")
    for qos in (0, 1):
        first.publish("t", b"x", qos)
        second.publish("t", b"x", qos)
    cluster.settle()
    assert seen == {(0, "published"): 4, (1, "delivered"): 4}
    assert publishers == ["p", "q", "p", "q"]
