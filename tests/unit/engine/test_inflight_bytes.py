"""What a client has not acknowledged counts in `limits.max_queued_bytes`."""

from __future__ import annotations

import pytest

from pybroker.broker.config.settings import Limits
from pybroker.broker.packets.model import Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.harness import Broker, Client

LARGE = 10_000
BOUND = 100_000


@pytest.fixture
def broker() -> Broker:
    return Broker(limits=Limits(max_queued_bytes=BOUND), max_inflight_window=100)


def unread(client: Client) -> list[Publish]:
    return [packet for packet in client.packets() if isinstance(packet, Publish)]


def fill(broker: Broker, count: int, size: int = LARGE, qos: int = 1) -> None:
    publisher = broker.connect("p")
    for number in range(count):
        publisher.publish("t", b"%05d" % number + bytes(size), qos=qos)
    publisher.disconnect()


def numbers(messages: list[Publish]) -> list[int]:
    return [int(message.payload[:5]) for message in messages]


@pytest.mark.parametrize("qos", [1, 2])
def test_a_client_that_acknowledges_nothing(broker: Broker, qos: int) -> None:
    client = broker.connect("c")
    client.subscribe("t", qos=qos)
    fill(broker, 50, qos=qos)
    session = client.channel.session
    assert session is not None
    got = unread(client)
    assert sum(len(message.payload) for message in got) <= BOUND
    assert session.inflight.bytes <= BOUND
    dropped = broker.dropped("queue_full")
    assert len(got) + dropped == 50
    assert broker.engine.counters.limited["max_queued_bytes"] == dropped > 0


def test_what_is_acknowledged_makes_room_and_order_is_kept(broker: Broker) -> None:
    client = broker.connect("c")
    client.subscribe("t", qos=1)
    fill(broker, 8)
    publisher = broker.connect("p")
    publisher.publish("t", b"00008" + bytes(3 * LARGE), qos=1)  # refused: no room in all
    publisher.publish("t", b"00009", qos=1)
    seen: list[int] = []
    while messages := unread(client):
        seen += numbers(messages)
        client.send(*(Puback(message.packet_id) for message in messages))
    assert seen == [*range(8), 9]
    assert broker.dropped("queue_full") == 1
    session = client.channel.session
    assert session is not None
    assert (session.inflight.bytes, session.inflight.large, session.window) == (0, {}, 100)


def test_a_small_one_does_not_overtake_a_large_one_that_waits() -> None:
    broker = Broker(limits=Limits(max_queued_bytes=BOUND), max_inflight_window=100)
    client = broker.connect("c", session_expiry_interval=60)
    client.subscribe("t", qos=1)
    client.drop()
    fill(broker, 5)  # they wait
    broker.engine.sender.max_bytes = 3 * LARGE  # with what they take beside their payload, three are too many
    client = client.again(session_expiry_interval=60)
    publisher = broker.connect("p")
    publisher.publish("t", b"00005", qos=1)
    first = unread(client)
    assert numbers(first) == [0, 1]
    client.send(*(Puback(message.packet_id) for message in first))
    rest = client.messages()
    assert numbers([*first, *rest]) == [0, 1, 2, 3, 4, 5]


def test_one_always_may_be_on_its_way(broker: Broker) -> None:
    client = broker.connect("c")
    client.subscribe("t", qos=1)
    fill(broker, 1, size=3 * BOUND)
    (message,) = unread(client)
    client.acknowledge(message)
    fill(broker, 1, size=3 * BOUND)
    assert len(unread(client)) == 1


def test_small_ones_are_bounded_by_their_number(broker: Broker) -> None:
    client = broker.connect("c")
    client.subscribe("t", qos=1)
    fill(broker, 100, size=100)
    session = client.channel.session
    assert session is not None
    assert session.inflight.large == {}
    assert len(client.messages()) == 100


def test_qos_2_counts_until_it_is_completed(broker: Broker) -> None:
    client = broker.connect("c")
    client.subscribe("t", qos=2)
    fill(broker, 1, qos=2)
    session = client.channel.session
    assert session is not None
    (message,) = unread(client)
    client.send(Pubrec(message.packet_id))
    client.next(Pubrel)
    assert session.inflight.bytes > LARGE
    client.send(Pubcomp(message.packet_id))
    assert session.inflight.bytes == 0


def test_a_client_that_comes_back(broker: Broker) -> None:
    client = broker.connect("c", session_expiry_interval=60)
    client.subscribe("t", qos=1)
    fill(broker, 5)
    client.drop()
    client = client.again(session_expiry_interval=60)
    fill(broker, 50)
    session = client.channel.session
    assert session is not None
    assert session.inflight.bytes <= BOUND
    client.messages()
    assert (session.inflight.bytes, session.window) == (0, 100)


def test_large_retained_messages_wait_for_room_and_none_is_dropped(broker: Broker) -> None:
    publisher = broker.connect("p")
    for number in range(30):
        publisher.publish(f"r/{number}", b"%05d" % number + bytes(LARGE), qos=1, retain=True)
    client = broker.connect("c")
    client.subscribe("r/#", qos=1)
    seen: list[int] = []
    while messages := unread(client):
        assert len(messages) < 11
        seen += numbers(messages)
        client.send(*(Puback(message.packet_id) for message in messages))
    assert sorted(seen) == [*range(30)]
    assert broker.dropped("queue_full") == 0
