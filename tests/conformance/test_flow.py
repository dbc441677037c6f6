"""How much at a time: receive maximum, maximum packet size, clients that do not read (section 4.9)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pybroker.broker.config.settings import Limits
from pybroker.broker.engine.channel import LINGER, MAX_UNREAD_ANSWERS
from pybroker.broker.packets.encoder import PINGREQ, encode, make_publish
from pybroker.broker.packets.model import (
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
)
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import FOR_EVER, Broker, Client

from .versions import every_version

mqtt = pytest.mark.mqtt
R = ReasonCode


@pytest.fixture
def publisher(broker: Broker) -> Client:
    return broker.connect("publisher")


# The client's receive maximum


@mqtt("5.0:MQTT-3.3.4-9", "5.0:MQTT-3.3.4-10", "5.0:MQTT-4.9.0-1", "5.0:MQTT-4.9.0-2", "5.0:MQTT-4.9.0-3")
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("maximum", [1, 3])
def test_the_clients_receive_maximum(broker: Broker, publisher: Client, qos: int, maximum: int) -> None:
    client = broker.connect("c", receive_maximum=maximum)
    client.subscribe("t", qos=2)
    for number in range(10):
        publisher.publish("t", b"%d" % number, qos=qos)
    waiting = [client.message(acknowledge=False) for _ in range(maximum)]
    client.nothing()
    client.ping()  # everything else goes on
    client.publish("elsewhere", qos=2)
    publisher.publish("t", b"zero", qos=0)
    publisher.publish("t", b"zero", qos=0, content_type="text")
    assert [client.message().payload for _ in range(2)] == [b"zero", b"zero"]
    client.nothing()
    payloads = [m.payload for m in waiting]
    while waiting:
        client.acknowledge(waiting.pop(0))  # one done, one more
        if client.pending():
            waiting.append(client.message(acknowledge=False))
            payloads.append(waiting[-1].payload)
        client.nothing()
    assert payloads == [b"%d" % n for n in range(10)]


@mqtt("5.0:MQTT-3.3.4-9", "5.0:MQTT-4.9.0-2")
def test_qos_2_counts_until_pubcomp(broker: Broker, publisher: Client) -> None:
    client = broker.connect("c", receive_maximum=1)
    client.subscribe("t", qos=2)
    for _ in range(3):
        publisher.publish("t", qos=2)
    first = client.message(acknowledge=False)
    client.send(Pubrec(first.packet_id))
    assert client.packets() == [Pubrel(first.packet_id)]
    client.send(Pubcomp(first.packet_id))
    second = client.message(acknowledge=False)
    client.send(Pubrec(second.packet_id, R.UNSPECIFIED_ERROR))  # a refusal is an end too
    assert client.message().qos == 2
    client.nothing()


@mqtt("5.0:MQTT-3.3.4-9", "5.0:MQTT-4.9.0-1", "5.0:MQTT-4.4.0-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_receive_maximum_that_shrinks_over_a_reconnect(broker: Broker, publisher: Client, qos: int) -> None:
    client = broker.connect("c", session_expiry_interval=FOR_EVER)
    client.subscribe("t", qos=2)
    for number in range(8):
        publisher.publish("t", b"%d" % number, qos=qos)
    first = [client.message(acknowledge=False) for _ in range(8)]
    if qos == 2:  # of the first two only PUBREL is left
        client.send(*(Pubrec(m.packet_id) for m in first[:2]))
    client.drop()
    publisher.publish("t", b"8", qos=qos)
    client = client.again(receive_maximum=2, session_expiry_interval=FOR_EVER)
    if qos == 2:
        assert [client.next(Pubrel).packet_id for _ in range(2)] == [m.packet_id for m in first[:2]]
        client.nothing()
        client.send(*(Pubcomp(m.packet_id) for m in first[:2]))
    again: list[Publish] = []
    while client.pending():
        assert client.pending() <= 2
        message = client.message(acknowledge=False)
        again.append(message)
        client.acknowledge(message)
    start = 2 if qos == 2 else 0
    assert [m.payload for m in again] == [b"%d" % n for n in range(start, 9)]
    assert [m.packet_id for m in again[:-1]] == [m.packet_id for m in first[start:]]
    assert [m.dup for m in again] == [True] * (8 - start) + [False]


def test_answers_to_messages_that_were_not_sent_again_yet(broker: Broker, publisher: Client) -> None:
    client = broker.connect("c", session_expiry_interval=FOR_EVER)
    client.subscribe("t", qos=2)
    for number in range(6):
        publisher.publish("t", b"%d" % number, qos=1 + number % 2)
    first = [client.message(acknowledge=False) for _ in range(6)]
    client.drop()
    client = client.again(receive_maximum=1, session_expiry_interval=FOR_EVER)
    assert client.message(acknowledge=False).payload == b"0"
    client.send(Puback(first[4].packet_id), Pubrec(first[5].packet_id))
    assert client.packets() == [Pubrel(first[5].packet_id)]
    client.send(Puback(first[0].packet_id), Pubcomp(first[5].packet_id))
    assert client.payloads() == [b"1", b"2", b"3"]


# The broker's receive maximum


@mqtt("5.0:MQTT-3.3.4-7")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_client_that_exceeds_the_receive_maximum(qos: int) -> None:
    broker = Broker(receive_maximum=3)
    publisher = broker.connect("p")
    publishes = [encode(numbered(number, qos), 5) for number in range(1, 5)]
    publisher.send_bytes(b"".join(publishes))  # all at once: nothing could be acknowledged between
    answers = publisher.packets()
    assert getattr(answers[-1], "reason", None) == R.RECEIVE_MAXIMUM_EXCEEDED
    assert publisher.is_closed
    assert len(answers) == 4  # those before it were right


@mqtt("5.0:MQTT-3.3.4-7")
@pytest.mark.parametrize("topic", ["t", "secret"])
@pytest.mark.parametrize("qos", [1, 2])
def test_every_end_of_a_message_makes_room_for_another(topic: str, qos: int) -> None:
    broker = Broker(receive_maximum=1)
    broker.engine.access.authorizers = (lambda client, topic, action: topic != "secret",)
    publisher = broker.connect("p")
    for _ in range(3):  # PUBACK, PUBCOMP, and either refusal
        publisher.publish(topic, qos=qos)
    publisher.nothing()


def numbered(packet_id: int, qos: int) -> Publish:
    return make_publish("t", b"x", qos=qos, packet_id=packet_id, version=5)


def test_qos_2_without_pubrel_fills_the_receive_maximum() -> None:
    publisher = Broker(receive_maximum=2).connect("p")
    for packet_id in (1, 2):
        publisher.send_publish("t", qos=2, packet_id=packet_id)
        publisher.next(Pubrec)
        publisher.send_publish("t", qos=2, packet_id=packet_id, dup=True)  # a repeat counts once
        publisher.next(Pubrec)
    publisher.send(Pubrel(1))
    publisher.next(Pubcomp)
    publisher.send_publish("t", qos=2, packet_id=3)
    publisher.next(Pubrec)
    publisher.send_publish("t", qos=1, packet_id=4)
    publisher.closed(R.RECEIVE_MAXIMUM_EXCEEDED)


def test_the_receive_maximum_starts_anew_with_each_connection() -> None:
    publisher = Broker(receive_maximum=2).connect("p", session_expiry_interval=100)
    for packet_id in (1, 2):
        publisher.send_publish("t", qos=2, packet_id=packet_id)
    publisher.drop()
    publisher = publisher.again()
    for packet_id in (1, 2):
        publisher.send_publish("t", qos=2, packet_id=packet_id, dup=True)
        publisher.next(Pubrec)
    publisher.send(Pubrel(1), Pubrel(2))
    assert publisher.packets() == [Pubcomp(1), Pubcomp(2)]
    publisher.publish("t", qos=2)


@pytest.mark.parametrize("version", [3, 4])
def test_3_x_knows_no_receive_maximum(version: int) -> None:
    publisher = Broker(receive_maximum=2).connect("p", version)
    for packet_id in range(1, 100):
        publisher.send_publish("t", qos=2, packet_id=packet_id)
    assert len(publisher.packets()) == 99


# Maximum packet size


@mqtt("5.0:MQTT-3.1.2-24", "5.0:MQTT-3.1.2-25")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_too_large_for_one_client_is_dropped_for_it_alone(
    broker: Broker, publisher: Client, qos: int
) -> None:
    small = broker.connect("small", maximum_packet_size=100, receive_maximum=1)
    large = broker.connect("large")
    for client in (small, large):
        client.subscribe("t", qos=2)
    fits = 100 - (2 + 2 + 1 + 1 + (2 if qos else 0))  # header, topic, property length, identifier
    for size in (fits, fits + 1, 3):
        publisher.publish("t", b"x" * size, qos=qos)
    assert [len(p) for p in small.payloads()] == [fits, 3]
    assert [len(p) for p in large.payloads()] == [fits, fits + 1, 3]
    assert broker.dropped("packet_too_large") == 1


@mqtt("5.0:MQTT-3.1.2-24", "5.0:MQTT-3.1.2-25")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_maximum_packet_size_that_shrinks_over_a_reconnect(
    broker: Broker, publisher: Client, qos: int
) -> None:
    client = broker.connect("c", session_expiry_interval=FOR_EVER)
    client.subscribe("t", qos=2)
    publisher.publish("t", b"x" * 200, qos=qos)
    publisher.publish("t", b"short", qos=qos)
    client.packets()
    client.drop()
    publisher.publish("t", b"y" * 200, qos=qos)
    client = client.again(maximum_packet_size=100, session_expiry_interval=FOR_EVER)
    assert client.payloads() == [b"short"]
    assert broker.dropped("packet_too_large") == 2
    publisher.publish("t", b"z" * 200)
    client.nothing()


@mqtt("5.0:MQTT-3.1.2-24")
def test_a_suback_that_does_not_fit(broker: Broker) -> None:
    client = broker.connect("c", maximum_packet_size=40)
    client.send(Subscribe(1, [SubscribeFilter(f"t{n}", 0) for n in range(35)]))
    assert isinstance(client.next(Suback), Suback)
    client.send(Subscribe(1, [SubscribeFilter(f"t{n}", 0) for n in range(36)]))
    client.closed(R.PACKET_TOO_LARGE)


@mqtt("5.0:MQTT-3.2.2-15")
@every_version
@pytest.mark.parametrize("size", [1000, 1001])
def test_the_brokers_maximum_packet_size(version: int, size: int) -> None:
    client = Broker(max_packet_size=1000).connect("c", version)
    client.subscribe("t")
    payload = size - (3 + 2 + 1 + (1 if version == 5 else 0))
    client.send_publish("t", b"x" * payload)
    if size == 1000:
        assert len(client.message().payload) == payload
    else:
        client.closed(R.PACKET_TOO_LARGE)


# Problem information


@mqtt("5.0:MQTT-3.1.2-29")
def test_no_problem_information_where_it_is_not_wanted(broker: Broker, publisher: Client) -> None:
    client = broker.connect("c", request_problem_information=0)
    client.subscribe("t", qos=1)
    publisher.publish("t", qos=1, user_properties=(("a", "b"),))
    message = client.message()
    assert message.properties == Properties(user_properties=(("a", "b"),))  # PUBLISH is an exception
    client.send(Subscribe(1, [SubscribeFilter("t", 0)]), Unsubscribe(2, ["u"]))
    client.send_publish("nobody/there", qos=1)
    client.send_publish("$SYS/x", qos=2)
    client.send(Pubrec(9), Pubrel(9))
    answers = client.packets()
    assert [type(p) for p in answers] == [Suback, Unsuback, Puback, Pubrec, Pubrel, Pubcomp]
    assert [p.properties for p in answers] == [None] * 6  # type: ignore[union-attr]


@mqtt("5.0:MQTT-3.1.2-29")
@pytest.mark.parametrize("wanted", [0, 1])
def test_what_tells_of_problems_is_left_out_where_it_is_not_wanted(broker: Broker, wanted: int) -> None:
    connection = broker.connect("c", request_problem_information=wanted).channel.connection
    told = Properties(reason_string="why", user_properties=(("a", "b"),))
    written = connection.fitting(Suback(1, [R.NOT_AUTHORIZED], replace(told)))
    assert written == encode(Suback(1, [R.NOT_AUTHORIZED], told if wanted else None), 5)


# Clients that do not read


@every_version
def test_a_client_that_stops_reading_costs_a_bounded_queue(version: int) -> None:
    broker = Broker(max_mqueue_len=10, limits=Limits(max_queued_bytes=20_000))
    client = broker.connect("c", version)
    client.subscribe("t", qos=1)
    client.stop_reading()
    publisher = broker.connect("p")
    session = broker.engine.sessions.get("c")
    assert session is not None
    for number in range(100):
        publisher.publish("t", b"0 %d" % number, qos=0)
        publisher.publish("t", b"1 %d" % number, qos=1)
        assert session.queue is not None
        assert session.queue.bytes <= 20_000
    assert client.link.written == b""
    assert broker.dropped("queue_full") == 90
    client.read_on()
    plain, acknowledged = [], []
    for message in client.messages():
        (acknowledged if message.qos else plain).append(message.payload)
    assert acknowledged == [b"1 %d" % n for n in range(10)]
    assert plain == [b"0 %d" % n for n in range(100) if b"0 %d" % n in plain]
    assert len(plain) + broker.dropped("slow_receiver") == 100
    publisher.publish("t", b"live")
    assert client.payloads() == [b"live"]


def test_the_queue_of_a_client_that_is_away_is_bounded_in_bytes_too() -> None:
    broker = Broker(max_mqueue_len=1000, limits=Limits(max_queued_bytes=10_000))
    client = broker.connect("c", session_expiry_interval=FOR_EVER)
    client.subscribe("t", qos=1)
    client.drop()
    publisher = broker.connect("p")
    for _ in range(20):
        publisher.publish("t", b"x" * 990, qos=1)
    kept = len(client.again().messages())
    assert 5 < kept <= 10
    assert broker.dropped("queue_full") == 20 - kept


@every_version
def test_what_waited_is_written_as_far_as_the_network_takes_it(version: int) -> None:
    broker = Broker(max_mqueue_len=10_000)
    client = broker.connect("c", version)
    client.subscribe("t")
    client.stop_reading()
    publisher = broker.connect("p")
    for _ in range(1000):
        publisher.publish("t", b"x" * 1000)
    client.link.stuck = False

    written = 0

    def write(data: bytes) -> None:
        nonlocal written
        written += len(data)
        if written > 100_000:
            client.channel.paused()

    client.channel.outbox.write = write
    client.channel.resumed()
    assert 100_000 < written < 200_000
    session = broker.engine.sessions.get("c")
    assert session is not None
    assert session.queue is not None
    assert len(session.queue) > 800


@every_version
def test_answers_that_pile_up_unread_end_the_connection(broker: Broker, version: int) -> None:
    client = broker.connect("c", version)
    client.stop_reading()
    pings = PINGREQ * 10_000
    for _ in range(MAX_UNREAD_ANSWERS // len(pings) + 2):
        client.send_bytes(pings)
        assert len(client.link.written) < MAX_UNREAD_ANSWERS + len(pings) + 1000
    assert client.is_closed
    assert not client.link.aborted
    broker.clock.advance(LINGER)
    assert client.link.aborted  # what it does not read cannot keep it open


@every_version
def test_a_client_that_reads_slowly_may_go_on_publishing(broker: Broker, version: int) -> None:
    watcher = broker.connect("w")
    watcher.subscribe("t", qos=2)
    client = broker.connect("c", version)
    client.stop_reading()
    for _ in range(1000):
        client.send_publish("t", qos=1)
    assert len(watcher.messages()) == 1000
    assert not client.is_closed
    client.read_on()
    assert len(client.packets()) == 1000
