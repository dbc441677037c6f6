"""A message to very many receivers goes out in turns: to a part of them in each round of the event loop."""

from __future__ import annotations

import pytest

from pybroker.broker.config.settings import Limits
from pybroker.broker.engine import spreading
from pybroker.broker.engine.publish import broadcast
from pybroker.broker.events import MessagePublished
from pybroker.broker.hooks import Hooks
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import Puback, Pubcomp, Publish, Pubrec, Pubrel
from pybroker.broker.routing import long_route
from pybroker.broker.session.session import Session
from tests.harness import Broker, Client

from .test_turns import rounds

MANY, PART = 60, 20
COUNT = MANY + 1


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_route, "MANY", MANY)
    monkeypatch.setattr(long_route, "PART", PART)


def crowd(broker: Broker, qos: int = 0, topic_filter: str = "t", count: int = COUNT) -> list[Client]:
    clients = [broker.connect(f"s{number}", session_expiry_interval=60) for number in range(count)]
    for client in clients:
        client.subscribe(topic_filter, qos)
    return clients


def written(clients: list[Client]) -> int:
    return sum(bool(client.link.written) for client in clients)


def settle(broker: Broker) -> None:
    """Let the event loop go round until nothing is left to do."""
    for _ in range(1000):
        if not broker.waiting:
            return
        rounds(broker)
    raise AssertionError("it does not come to an end")


def test_thousands_of_receivers_have_a_long_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    broker = Broker()
    clients, publisher = crowd(broker, count=long_route.MANY + 1), broker.connect("p")
    publisher.send_publish("t")
    most = 0
    while broker.waiting:
        before = written(clients)
        rounds(broker)
        most = max(most, written(clients) - before)
    assert most == long_route.PART
    assert written(clients) == len(clients)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_round_serves_one_part_of_the_receivers(qos: int) -> None:
    broker = Broker()
    clients, publisher = crowd(broker, qos), broker.connect("p")
    publisher.send_publish("t", b"x", qos)
    publisher.nothing()
    served = []
    while broker.waiting:
        before = written(clients)
        rounds(broker)
        served.append(written(clients) - before)
    assert sum(served) == COUNT
    assert max(served) <= PART
    assert all(len(client.packets()) == 1 for client in clients)
    assert len(publisher.packets()) == bool(qos)


def test_receivers_that_are_away_queue_it_in_turns() -> None:
    broker = Broker()
    clients, publisher = crowd(broker, 1), broker.connect("p")
    for client in clients:
        client.drop()
    publisher.send_publish("t", b"x", 1)
    most, queued = 0, 0
    while broker.waiting:
        rounds(broker)
        now = sum(session.queue is not None for session in broker.engine.sessions)
        most, queued = max(most, now - queued), now
    assert queued == COUNT
    assert most <= PART
    assert publisher.next(Puback).packet_id == 1


def test_the_acknowledgement_comes_after_the_last_receiver() -> None:
    broker = Broker()
    clients, publisher = crowd(broker, 1), broker.connect("p")
    packet_id = publisher.send_publish("t", b"x", 1)
    while written(clients) < COUNT:
        publisher.nothing()
        assert not publisher.link.reading
        rounds(broker)
    settle(broker)
    assert publisher.next(Puback).packet_id == packet_id
    assert publisher.link.reading


def test_messages_of_one_publisher_keep_their_order() -> None:
    broker = Broker()
    clients, publisher = crowd(broker, 1), broker.connect("p")
    other = broker.connect("o")
    other.subscribe("small")
    packets = [make_publish("t", b"%d" % n, qos=n % 2, packet_id=n, version=5) for n in range(6)]
    packets.insert(3, make_publish("small", b"between", version=5))
    publisher.send_bytes(b"".join(encode(packet, 5) for packet in packets))
    other.nothing()
    settle(broker)
    assert other.payloads() == [b"between"]
    assert all(client.payloads() == [b"0", b"1", b"2", b"3", b"4", b"5"] for client in clients)


def test_the_messages_of_two_publishers_come_in_the_same_order_everywhere() -> None:
    broker = Broker()
    clients = crowd(broker, 1)
    first, second = broker.connect("p1"), broker.connect("p2")
    first.send_publish("t", b"1", 1)
    rounds(broker, 3)
    second.send_publish("t", b"2", 1)
    settle(broker)
    assert all(client.payloads() == [b"1", b"2"] for client in clients)


def test_others_are_served_between_the_turns() -> None:
    broker = Broker()
    crowd(broker)
    publisher, pair = broker.connect("p"), (broker.connect("a"), broker.connect("b"))
    pair[0].subscribe("quiet")
    publisher.send_publish("t")
    rounds(broker, 2)
    assert len(broker.engine.spreading) == 1
    pair[1].publish("quiet", b"now")
    assert pair[0].payloads() == [b"now"]
    settle(broker)


def test_messages_of_qos_0_of_one_read_go_to_a_receiver_together() -> None:
    broker = Broker()
    clients, publisher = crowd(broker), broker.connect("p")
    publisher.send_bytes(b"".join(encode(make_publish("t", b"%d" % n, version=5), 5) for n in range(20)))
    settle(broker)
    publisher.send_bytes(b"".join(encode(make_publish("t", b"%d" % n, version=5), 5) for n in range(20)))
    went = 0
    while broker.waiting:
        rounds(broker)
        went += 1
    assert went < 3 * COUNT / PART + 5
    assert all(client.payloads() == [b"%d" % n for n in range(20)] * 2 for client in clients)
    assert broker.engine.counters.publish_sent == 40 * COUNT
    assert broker.engine.counters.publish_received == 40


def test_who_unsubscribes_or_ends_meanwhile_gets_nothing() -> None:
    broker = Broker()
    clients, publisher = crowd(broker, 1), broker.connect("p")
    publisher.send_publish("t", b"x", 1)
    while not written(clients):
        rounds(broker)
    gone, changed, late = clients[-1], clients[-2], broker.connect("late")
    gone.unsubscribe("t")
    changed.subscribe("t", 0)
    late.subscribe("t", 1)
    clients[-3].disconnect(session_expiry_interval=0)
    settle(broker)
    gone.nothing()
    late.nothing()
    assert [message.qos for message in changed.messages()] == [0]
    assert all(client.payloads() == [b"x"] for client in clients[:-3])
    publisher.packets()
    publisher.send_publish("t", b"y")
    settle(broker)
    gone.nothing()
    assert late.payloads() == [b"y"]


def test_a_receiver_of_several_filters_gets_one_copy() -> None:
    broker = Broker()
    clients, publisher = crowd(broker, 0, "a/b"), broker.connect("p")
    for client in clients[:30]:
        client.subscribe("a/+", 1, identifier=7)
    publisher.send_publish("a/b", b"x", 1)
    settle(broker)
    [message] = clients[0].messages()
    assert message.qos == 1
    assert message.properties is not None
    assert message.properties.subscription_identifiers == (7,)
    assert [message.qos for message in clients[-1].messages()] == [0]


def test_a_shared_group_beside_them_gets_one_copy() -> None:
    broker = Broker()
    clients, publisher = crowd(broker), broker.connect("p")
    members = [broker.connect(f"m{number}") for number in range(3)]
    for member in members:
        member.subscribe("$share/g/t")
    publisher.send_publish("t", b"x")
    settle(broker)
    assert sum(member.pending() for member in members) == 1
    assert written(clients) == COUNT


def test_no_local_holds_for_the_publisher() -> None:
    broker = Broker()
    crowd(broker)
    publisher, other = broker.connect("p"), broker.connect("o")
    for client in (publisher, other):
        client.subscribe("t", no_local=True)
    for _ in range(2):
        publisher.send_bytes(b"".join(encode(make_publish("t", b"x", version=5), 5) for _ in range(2)))
        settle(broker)
    publisher.nothing()
    assert other.payloads() == [b"x"] * 4


def test_a_message_of_qos_2_that_is_repeated_meanwhile_goes_out_once() -> None:
    broker = Broker()
    clients = crowd(broker, 2)
    publisher = broker.connect("p", session_expiry_interval=60)
    packet_id = publisher.send_publish("t", b"x", 2)
    rounds(broker, 3)
    publisher.drop()
    again = publisher.again(session_expiry_interval=60)
    again.send_publish("t", b"x", 2, packet_id=packet_id, dup=True)
    settle(broker)
    assert again.next(Pubrec).packet_id == packet_id
    again.send(Pubrel(packet_id))
    assert again.next(Pubcomp).packet_id == packet_id
    assert all(len(client.packets()) == 1 for client in clients)


def test_a_message_of_qos_2_whose_publisher_left_is_known_when_it_is_repeated() -> None:
    broker = Broker()
    clients = crowd(broker, 2)
    publisher = broker.connect("p", session_expiry_interval=60)
    packet_id = publisher.send_publish("t", b"x", 2)
    publisher.drop()
    settle(broker)
    again = publisher.again(session_expiry_interval=60)
    again.send_publish("t", b"x", 2, packet_id=packet_id, dup=True)
    assert again.next(Pubrec).packet_id == packet_id
    settle(broker)
    assert all(len(client.packets()) == 1 for client in clients)


def test_a_retained_message_is_kept_before_it_goes_out() -> None:
    broker = Broker()
    clients, publisher = crowd(broker), broker.connect("p")
    publisher.send_publish("t", b"x", retain=True)
    settle(broker)
    assert broker.retained() == {"t": b"x"}
    assert written(clients) == COUNT


def test_a_message_that_expires_while_it_waits_is_dropped() -> None:
    broker = Broker()
    clients = crowd(broker)
    first, second = broker.connect("p1"), broker.connect("p2")
    first.send_publish("t", b"1")
    second.send_publish("t", b"2", message_expiry_interval=5)
    broker.clock.advance(6)
    settle(broker)
    assert all(client.payloads() == [b"1"] for client in clients)
    assert broker.dropped("expired") == 1


def test_a_message_of_the_broker_waits_behind_its_others_and_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker()
    clients, other = crowd(broker), broker.connect("o")
    other.subscribe("small")
    monkeypatch.setattr(spreading, "MAX_WAITING_BYTES", 2 * spreading.OVERHEAD + 900)
    broadcast(broker.engine, "t", bytes(500))
    broadcast(broker.engine, "small", b"behind")
    broadcast(broker.engine, "t", bytes(500))
    other.nothing()
    assert broker.dropped("quota_exceeded") == 1
    assert broker.engine.counters.limited["many_receivers"] == 1
    settle(broker)
    assert other.payloads() == [b"behind"]
    assert written(clients) == COUNT
    broadcast(broker.engine, "small", b"at once")
    broker.engine.flush()
    assert other.payloads() == [b"at once"]


def test_clients_have_to_wait_while_the_messages_take_too_much_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker()
    clients = crowd(broker)
    monkeypatch.setattr(spreading, "MAX_WAITING_BYTES", 2 * spreading.OVERHEAD + 900)
    for number in range(5):  # each leaves its message behind
        publisher = broker.connect(f"p{number}")
        publisher.send_publish("t", bytes(300))
        publisher.drop()
    waiting = broker.connect("w")
    waiting.send_publish("t", b"x", 1)
    assert len(broker.engine.spreading) == 2
    settle(broker)
    waiting.nothing()
    broker.clock.advance(spreading.AGAIN)
    settle(broker)
    assert waiting.next(Puback)
    assert all(client.payloads() == [bytes(300), bytes(300), b"x"] for client in clients)


def test_messages_of_clients_and_of_the_broker_take_turns() -> None:
    broker = Broker()
    clients = crowd(broker)
    for number in range(3):
        broadcast(broker.engine, "t", b"own %d" % number)
    for number in range(2):
        broker.connect(f"p{number}").send_publish("t", b"client %d" % number)
    settle(broker)
    order = [b"client 0", b"own 0", b"client 1", b"own 1", b"own 2"]
    assert all(client.payloads() == order for client in clients)


def test_who_waits_for_all_of_them_is_told_at_the_end() -> None:
    broker = Broker()
    clients, done = crowd(broker), []
    broker.engine.spreading.when_done(lambda: done.append(0))
    assert done == [0]
    for number in range(2):
        broadcast(broker.engine, "t", b"own")
        broker.connect(f"p{number}").send_publish("t", b"client")
    broker.engine.spreading.when_done(lambda: done.append(sum(client.pending() for client in clients)))
    settle(broker)
    assert done == [0, 4 * COUNT]


def test_a_large_message_goes_to_few_receivers_at_a_time() -> None:
    broker = Broker(max_packet_size=10_000_000)
    clients, publisher = crowd(broker, count=20), broker.connect("p", 4)
    publisher.send_publish("t", bytes(3_000_000), 1)
    most = 0
    while broker.waiting:
        before = written(clients)
        rounds(broker)
        most = max(most, written(clients) - before)
    assert most == spreading.MOST_BYTES // 3_000_000
    assert written(clients) == len(clients)
    assert publisher.next(Puback)


def test_the_observers_are_told_once() -> None:
    seen: list[bytes] = []
    hooks = Hooks()
    hooks.observe(MessagePublished, lambda event: seen.append(event.payload))
    broker = Broker(hooks=hooks)
    crowd(broker)
    publisher = broker.connect("p")
    publisher.send_bytes(b"".join(encode(make_publish("t", b"%d" % n, version=5), 5) for n in range(3)))
    settle(broker)
    assert seen == [b"0", b"1", b"2"]


def test_who_may_not_receive_the_topic_gets_nothing() -> None:
    broker = Broker()
    clients, publisher = crowd(broker), broker.connect("p")
    broker.engine.router.screen(lambda session, topic: session.client_id != "s7")
    publisher.send_publish("t", b"x")
    settle(broker)
    clients[7].nothing()
    assert written(clients) == COUNT - 1


def test_a_failure_on_the_way_stops_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    clients = crowd(broker)
    first, second = broker.connect("p1"), broker.connect("p2")
    first.send_publish("t", b"1", 1)
    second.send_publish("t", b"2", 1)

    def fails(session: Session, topic: str) -> bool:
        broker.engine.router.screen(None)
        raise RuntimeError("broken")

    broker.engine.router.screen(fails)
    settle(broker)
    assert "has not reached all of its receivers" in caplog.text
    assert all(client.payloads() == [b"2"] for client in clients)


def test_a_subscription_of_a_client_does_not_make_other_long_routes_anew() -> None:
    broker = Broker(limits=Limits())
    crowd(broker)
    publisher, other = broker.connect("p"), broker.connect("o")
    publisher.send_publish("t")
    settle(broker)
    [route] = broker.engine.router._long.values()
    other.subscribe("u/+")
    assert broker.engine.router.is_current(route)
    other.subscribe("+")
    assert not broker.engine.router.is_current(route)


def test_a_publish_is_not_lost_when_its_client_goes() -> None:
    broker = Broker()
    clients, publisher = crowd(broker), broker.connect("p")
    publisher.send_publish("t", b"last words")
    publisher.drop()
    settle(broker)
    assert all(client.payloads() == [b"last words"] for client in clients)
    assert all(isinstance(packet, Publish) for client in clients for packet in client.packets())
