"""Retained messages are sent as fast as the client accepts them, and take no memory before that."""

from __future__ import annotations

import pytest

from pybroker.broker.engine.turns import TURN
from pybroker.broker.packets.model import Puback, Publish, Suback, Subscribe, SubscribeFilter
from tests.harness import Broker, Client

from .test_turns import Stopwatch

SIZE = 1000


def store(count: int, qos: int = 1, **mqtt: int) -> Broker:
    broker = Broker(**mqtt)
    publisher = broker.connect("p")
    for number in range(count):
        publisher.publish(f"r/{number}", bytes(SIZE), qos=qos, retain=True)
    publisher.disconnect()
    return broker


def topics(client: Client) -> list[str]:
    return [packet.topic for packet in client.packets() if isinstance(packet, Publish)]


@pytest.mark.parametrize("qos", [0, 1])
def test_a_client_that_does_not_read_takes_no_memory(qos: int) -> None:
    broker = store(1000, qos)
    client = broker.connect("c")
    outbox, write = client.channel.outbox, client.link.write

    def jam(data: bytes) -> None:
        write(data)
        if len(client.link.written) > 10 * SIZE:
            client.stop_reading()

    outbox.write = jam
    client.send(Subscribe(1, [SubscribeFilter(f, qos) for f in ("r/#", "#", "+/+", "r/+")]))
    assert len(client.link.written) < 200 * SIZE
    session = client.channel.session
    assert session is not None
    assert not session.queue
    outbox.write = write
    client.read_on()
    client.acknowledge(*(p for p in client.packets() if isinstance(p, Publish)))
    got = 0
    while client.pending():
        packets = [p for p in client.packets() if isinstance(p, Publish)]
        got += len(packets)
        client.acknowledge(*packets)
    assert session.source is None


def test_all_come_in_the_end_and_once() -> None:
    broker = store(500)
    client = broker.connect("c", receive_maximum=10)
    client.subscribe("r/#", qos=1)
    seen: list[str] = []
    while client.pending():
        messages = [p for p in client.packets() if isinstance(p, Publish)]
        assert len(messages) <= 10
        seen += [message.topic for message in messages]
        client.send(*(Puback(message.packet_id) for message in messages))
    assert sorted(seen) == sorted(f"r/{number}" for number in range(500))
    assert broker.dropped("queue_full") == 0


def test_the_same_filter_twice_in_one_packet_counts_once() -> None:
    client = store(5).connect("c")
    client.send(Subscribe(1, [SubscribeFilter("r/#", qos) for qos in (0, 2, 1)]))
    assert client.next_of(Suback).reasons == [0, 2, 1]
    messages = client.messages()
    assert len(messages) == 5
    assert {message.qos for message in messages} == {1}


def test_in_turns() -> None:
    broker = store(50)
    broker.engine.turns.now = Stopwatch(TURN / 3)
    client = broker.connect("c")
    client.send(Subscribe(1, [SubscribeFilter("r/#", 0)]))
    assert len(topics(client)) < 10
    broker.answer()
    broker.engine.turns.now = lambda: 0.0
    assert len(topics(client)) > 40


def test_what_is_unsubscribed_meanwhile_comes_no_more() -> None:
    client = store(50).connect("c", receive_maximum=5)
    client.subscribe("r/#", qos=1)
    client.unsubscribe("r/#")
    messages = client.messages()
    assert len(messages) == 5
    assert client.channel.session.source is None  # type: ignore[union-attr]


def test_sending_continues_when_the_client_is_back() -> None:
    broker = store(50)
    client = broker.connect("c", receive_maximum=5, session_expiry_interval=60)
    client.subscribe("r/#", qos=1)
    first = [packet for packet in client.packets() if isinstance(packet, Publish)][:3]
    for message in first[:3]:
        client.send(Puback(message.packet_id))
    client.packets()
    client.drop()
    again = client.again(receive_maximum=5, session_expiry_interval=60)
    rest = again.messages()
    assert {message.topic for message in (*first, *rest)} == {f"r/{number}" for number in range(50)}


def test_what_the_store_has_by_then_is_sent() -> None:
    broker = store(50)
    client = broker.connect("c", receive_maximum=5)
    client.subscribe("r/#", qos=1)
    other = broker.connect("o")
    for number in range(50):
        other.publish(f"r/{number}", b"", retain=True)
    assert all(message.payload in (b"", bytes(SIZE)) for message in client.messages())
    assert broker.retained() == {}


def test_a_session_that_has_ended() -> None:
    broker = store(50)
    client = broker.connect("c", receive_maximum=5)
    client.subscribe("r/#", qos=1)
    broker.engine.turns.later(client.channel.session.source.go_on)  # type: ignore[union-attr]
    client.drop()
    broker.answer()
    broker.connect("c").nothing()
