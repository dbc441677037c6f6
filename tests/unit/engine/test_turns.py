"""Work that takes long is done in turns, and whoever comes meanwhile is served between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pybroker.broker.delivery.sender import MOST_PLAIN
from pybroker.broker.engine.turns import TURN
from pybroker.broker.packets.model import Pingresp, Suback, Subscribe, SubscribeFilter, Unsuback, Unsubscribe
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker


class Stopwatch:
    """Each look at it takes so many seconds."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += self.step
        return self.seconds


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def slow(broker: Broker) -> Callable[[], None]:
    """From now on a turn is over after three pieces of work."""

    def begin() -> None:
        broker.engine.turns.now = Stopwatch(TURN / 3)

    return begin


def rounds(broker: Broker, number: int = 1) -> None:
    """Let the event loop go round so often."""
    for _ in range(number):
        waiting, broker.waiting = broker.waiting, []
        for answer, then in waiting:
            answer.close()  # type: ignore[attr-defined]
            then(None)


FILTERS = [SubscribeFilter(f"a/{number}", 0) for number in range(20)]


def test_a_subscribe_of_many_filters_is_put_off(broker: Broker, slow: Callable[[], None]) -> None:
    client, other = broker.connect("c"), broker.connect("o")
    slow()
    client.send(Subscribe(1, FILTERS))
    client.nothing()
    assert not client.link.reading
    other.ping()
    broker.answer()
    assert client.next(Suback).reasons == [ReasonCode.GRANTED_QOS_0] * 20
    assert client.link.reading
    other.publish("a/19", b"x")
    assert client.payloads() == [b"x"]


def test_an_unsubscribe_of_many_filters_is_put_off(broker: Broker, slow: Callable[[], None]) -> None:
    client = broker.connect("c")
    client.send(Subscribe(1, FILTERS))
    client.next(Suback)
    slow()
    client.send(Unsubscribe(2, [f.topic_filter for f in FILTERS]))
    client.nothing()
    broker.answer()
    assert client.next(Unsuback).reasons == [ReasonCode.SUCCESS] * 20


def test_what_comes_after_it_waits_for_it(broker: Broker, slow: Callable[[], None]) -> None:
    client = broker.connect("c")
    slow()
    client.send(Subscribe(1, FILTERS))
    client.send_bytes(b"\xc0\x00")
    client.nothing()
    broker.answer()
    client.next(Suback)
    client.next(Pingresp)


def test_packets_of_one_read_are_handled_in_turns(broker: Broker, slow: Callable[[], None]) -> None:
    client = broker.connect("c")
    slow()
    client.send_bytes(b"\xc0\x00" * 20)
    assert 0 < client.pending() < 20
    rounds(broker)
    assert client.pending() < 20
    broker.answer()
    assert client.pending() == 20
    assert client.link.reading


def test_a_rule_broken_in_a_later_turn(broker: Broker, slow: Callable[[], None]) -> None:
    client = broker.connect("c")
    slow()
    client.send(Subscribe(1, [*FILTERS, SubscribeFilter("a/#/b", 0)]))
    broker.answer()
    client.closed(ReasonCode.MALFORMED_PACKET)


def test_a_client_that_leaves_between_turns(broker: Broker, slow: Callable[[], None]) -> None:
    client = broker.connect("c")
    slow()
    client.send(Subscribe(1, FILTERS))
    client.drop()
    broker.answer()
    assert len(broker.engine.router) == 0


def test_all_that_is_put_off_shares_a_turn(broker: Broker) -> None:
    turns, done = broker.engine.turns, []
    for number in range(9):
        turns.later(lambda number=number: done.append(number))  # type: ignore[misc]
    turns.now = Stopwatch(TURN / 3)
    rounds(broker)
    assert done == [0, 1, 2, 3]
    broker.answer()
    assert done == list(range(9))


def test_one_that_fails_does_not_stop_the_others(broker: Broker) -> None:
    turns, done = broker.engine.turns, []
    turns.later(lambda: 1 // 0)
    turns.later(lambda: done.append("next"))
    with pytest.raises(ZeroDivisionError):
        rounds(broker)
    broker.answer()
    assert done == ["next"]


@pytest.mark.parametrize("qos", [0, 1])
def test_a_run_of_messages_for_many_that_do_not_read(
    broker: Broker, slow: Callable[[], None], qos: int
) -> None:
    """What is cheap for those that read is not where each copy has to wait by itself."""
    from pybroker.broker.engine import publish
    from pybroker.broker.packets.encoder import encode, make_publish

    receivers = [broker.connect(f"r{number}", 4) for number in range(20)]
    for receiver in receivers:
        receiver.subscribe("t", qos)
        receiver.stop_reading()
    publisher = broker.connect("p", 4)
    publisher.publish("t", qos=qos)
    many = publish.MAX_AT_ONE_GO // 20 + 10
    wires = [
        encode(make_publish("t", b"%d" % n, qos=qos, packet_id=n + 1 if qos else 0), 4) for n in range(many)
    ]
    slow()
    publisher.send_bytes(b"".join(wires))
    assert broker.waiting, "all was done at one go"
    broker.answer()
    broker.engine.turns.now = lambda: 0.0
    receivers[7].read_on()
    assert receivers[7].payloads() == [b"x"] + [b"%d" % n for n in range(many)]


@pytest.mark.parametrize("version", [4, 5])
def test_what_has_waited_for_a_slow_reader_is_written_in_turns_and_in_order(
    broker: Broker, version: int
) -> None:
    reader, publisher = broker.connect("r", version), broker.connect("p", version)
    reader.subscribe("t", 1)
    reader.stop_reading()
    sent = [b"%d" % number for number in range(2 * MOST_PLAIN)]
    for payload in sent:
        publisher.publish("t", payload)
    reader.link.stuck = False
    reader.channel.resumed()
    got = [message.payload for message in reader.messages()]
    assert got == sent[:MOST_PLAIN]
    publisher.publish("t", b"next")
    assert reader.messages() == []
    rounds(broker)
    got += [message.payload for message in reader.messages()]
    assert got == sent
    rounds(broker, 2)
    publisher.publish("t", b"last")
    assert [message.payload for message in reader.messages()] == [b"next", b"last"]


def test_a_reader_that_is_slow_again_waits(broker: Broker) -> None:
    reader, publisher = broker.connect("r"), broker.connect("p")
    reader.subscribe("t")
    reader.stop_reading()
    for number in range(3 * MOST_PLAIN):
        publisher.publish("t", b"%d" % number)
    reader.link.stuck = False
    reader.channel.resumed()
    assert len(reader.messages()) == MOST_PLAIN
    reader.stop_reading()
    rounds(broker, 3)
    assert not reader.link.written
    reader.read_on()
    rounds(broker, 3)
    assert len(reader.messages()) == 2 * MOST_PLAIN


def test_a_reader_that_goes_away_between_turns(broker: Broker) -> None:
    reader, publisher = broker.connect("r"), broker.connect("p")
    reader.subscribe("t")
    reader.stop_reading()
    for number in range(2 * MOST_PLAIN):
        publisher.publish("t", b"%d" % number)
    reader.channel.resumed()
    reader.channel.lost()
    rounds(broker, 2)
    publisher.ping()
