"""Messages that come one right after another and are alike: handled at one go, and nobody can tell."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pybroker.broker.config.settings import Limits
from pybroker.broker.events import MessageDropped, MessagePublished
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker, Client

every_version = pytest.mark.parametrize("version", [3, 4, 5])

# They change their length in the middle, and some have a length of two bytes.
PAYLOADS = [b"%d" % number for number in range(98, 102)] + [b"%d" % n + bytes(200) for n in range(6)]


def burst(
    client: Client,
    topic: str = "t",
    payloads: Sequence[bytes] = PAYLOADS,
    *,
    qos: int = 0,
    packet_ids: Sequence[int] = (0,) * 10,
) -> None:
    """All in one read of the broker's."""
    messages = zip(payloads, packet_ids, strict=False)
    client.send(
        *(make_publish(topic, one, qos=qos, packet_id=id, version=client.version) for one, id in messages)
    )


@every_version
def test_it_arrives_whole_and_in_order(version: int) -> None:
    broker = Broker()
    subscriber, publisher = broker.connect("s", version), broker.connect("p", version)
    subscriber.subscribe("t")
    for _ in range(2):  # the second time the broker knows where it goes
        burst(publisher)
        assert subscriber.payloads() == PAYLOADS


@every_version
def test_other_packets_between_them_keep_their_place(version: int) -> None:
    broker = Broker()
    subscriber, publisher = broker.connect("s", version), broker.connect("p", version)
    subscriber.subscribe("#", qos=1)
    topics = ["t", "t", "u", "u", "t", "tt", "t", "t"]
    for _ in range(2):
        publisher.send(
            *(make_publish(topic, b"", version=version) for topic in topics),
            make_publish("t", b"", qos=1, packet_id=1, version=version),
            make_publish("t", b"", retain=True, version=version),
            make_publish("t", b"", version=version),
        )
        assert [message.topic for message in subscriber.messages()] == [*topics, "t", "t", "t"]


@every_version
def test_each_receiver_gets_it_in_its_own_shape(version: int) -> None:
    broker = Broker()
    plain, other = broker.connect("a", version), broker.connect("b", 9 - version if version > 3 else 5)
    plain.subscribe("t")
    other.subscribe("t")
    publisher = broker.connect("p", version)
    for _ in range(2):
        burst(publisher)
        assert plain.payloads() == other.payloads() == PAYLOADS


def test_counters() -> None:
    broker = Broker()
    subscriber, publisher = broker.connect("s"), broker.connect("p")
    subscriber.subscribe("t")
    burst(publisher)
    before = {name: getattr(broker.engine.counters, name) for name in COUNTED}
    burst(publisher)
    burst(publisher, "nobody")
    burst(publisher, "nobody")
    gained = {name: getattr(broker.engine.counters, name) - before[name] for name in COUNTED}
    assert gained == {
        "packets_received": 30,
        "publish_received": 30,
        "packets_sent": 10,
        "publish_sent": 10,
    }
    assert broker.dropped("no_subscribers") == 20


COUNTED = ("packets_received", "publish_received", "packets_sent", "publish_sent")


def test_what_waits_for_a_slow_reader_is_not_counted_as_sent() -> None:
    broker = Broker()
    slow, fast, publisher = broker.connect("slow"), broker.connect("fast"), broker.connect("p")
    slow.subscribe("t")
    fast.subscribe("t")
    for _ in range(2):
        slow.stop_reading()
        before = broker.engine.counters.publish_sent
        burst(publisher)
        publisher.publish("t", b"last")
        assert broker.engine.counters.publish_sent - before == 11
        slow.read_on()
        assert broker.engine.counters.publish_sent - before == 22
        assert slow.payloads() == fast.payloads() == [*PAYLOADS, b"last"]


def test_observers_see_each() -> None:
    broker = Broker()
    seen: list[bytes] = []
    broker.engine.hooks.observe(MessagePublished, lambda event: seen.append(event.payload))
    broker.engine.hooks.observe(MessageDropped, lambda event: seen.append(event.payload))
    publisher = broker.connect("p")
    for _ in range(2):
        burst(publisher)
        assert seen == [payload for payload in PAYLOADS for _ in range(2)]
        seen.clear()


def test_shared_subscriptions_take_turns() -> None:
    broker = Broker()
    members = [broker.connect(name) for name in "ab"]
    for member in members:
        member.subscribe("$share/g/t")
    publisher = broker.connect("p")
    for _ in range(2):
        burst(publisher)
        assert [len(member.payloads()) for member in members] == [5, 5]


def test_what_is_not_allowed_is_dropped() -> None:
    broker = Broker()
    broker.engine.access.authorizers = (lambda client, topic, action: topic != "secret",)
    subscriber, publisher = broker.connect("s"), broker.connect("p")
    subscriber.subscribe("#")
    for _ in range(2):
        burst(publisher, "secret")
        burst(publisher, "open")
        assert {message.topic for message in subscriber.messages()} == {"open"}
    assert broker.dropped("not_authorized") == 20


def test_only_the_broker_publishes_to_sys() -> None:
    broker = Broker()
    subscriber, publisher = broker.connect("s"), broker.connect("p")
    subscriber.subscribe("$SYS/#")
    for _ in range(2):
        burst(publisher, "$SYS/x")
    subscriber.nothing()
    assert broker.dropped("not_authorized") == 20


def test_a_decision_that_takes_its_time() -> None:
    broker = Broker()

    async def allowed() -> bool:
        return True

    subscriber, publisher = broker.connect("s"), broker.connect("p")
    subscriber.subscribe("#")
    broker.engine.access.authorizers = (lambda client, topic, action: allowed(),)
    publisher.channel.checks_topics = True
    burst(publisher)
    burst(publisher, "u")
    assert subscriber.pending() == 0
    broker.answer()
    assert subscriber.payloads() == PAYLOADS * 2


def test_the_message_rate_counts_each() -> None:
    broker = Broker(limits=Limits(message_rate=5))
    publisher = broker.connect("p")
    burst(publisher, payloads=[b""] * 10)
    assert not publisher.link.reading
    broker.clock.advance(1.1)
    assert publisher.link.reading


@every_version
def test_a_wrong_packet_after_them(version: int) -> None:
    broker = Broker()
    subscriber, publisher = broker.connect("s", version), broker.connect("p", version)
    subscriber.subscribe("t")
    good = b"".join(encode(make_publish("t", payload, version=version), version) for payload in PAYLOADS)
    publisher.send_bytes(good)
    assert subscriber.payloads() == PAYLOADS
    publisher.send_bytes(good + b"\x30\x00")
    publisher.closed(ReasonCode.MALFORMED_PACKET)
    assert subscriber.payloads() == PAYLOADS


@every_version
def test_what_comes_after_disconnect_is_ignored(version: int) -> None:
    broker = Broker()
    subscriber, publisher = broker.connect("s", version), broker.connect("p", version)
    subscriber.subscribe("t")
    publisher.send(*[make_publish("t", b"", version=version)] * 3)
    publisher.send(Disconnect(), *[make_publish("t", b"", version=version)] * 3)
    assert len(subscriber.messages()) == 3


@every_version
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_that_are_acknowledged(version: int, qos: int) -> None:
    broker = Broker()
    subscriber, publisher = broker.connect("s", version), broker.connect("p", version)
    subscriber.subscribe("t", qos=2)
    for _ in range(2):
        ids = [publisher.new_id() for _ in PAYLOADS]
        burst(publisher, qos=qos, packet_ids=ids)
        messages = [subscriber.next(Publish) for _ in PAYLOADS]
        assert [(message.payload, message.qos) for message in messages] == [(one, qos) for one in PAYLOADS]
        assert publisher.packets() == [(Puback if qos == 1 else Pubrec)(n) for n in ids]
        subscriber.acknowledge(*messages)
        publisher.send(*(Pubrel(n) for n in ids))
        publisher.packets()


@every_version
def test_a_qos_2_message_that_comes_twice_is_handed_out_once(version: int) -> None:
    broker = Broker()
    subscriber, publisher = broker.connect("s", version), broker.connect("p", version)
    subscriber.subscribe("t", qos=2)
    publisher.publish("t", qos=2)
    subscriber.message()
    burst(publisher, payloads=[b"a", b"b", b"a"], qos=2, packet_ids=[7, 8, 7])
    assert subscriber.payloads() == [b"a", b"b"]
    assert publisher.packets() == [Pubrec(7), Pubrec(8), Pubrec(7)]


def test_a_window_that_is_full_before_the_end() -> None:
    broker = Broker()
    subscriber = broker.connect("s", receive_maximum=3)
    publisher = broker.connect("p")
    subscriber.subscribe("t", qos=1)
    publisher.publish("t", b"first", qos=1)
    subscriber.message()
    burst(publisher, qos=1, packet_ids=range(1, 11))
    assert subscriber.pending() == 3
    assert subscriber.payloads() == PAYLOADS


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_publisher_that_does_not_want_its_own(qos: int) -> None:
    broker = Broker()
    both, other = broker.connect("both"), broker.connect("other")
    both.subscribe("t", qos=qos, no_local=True)
    other.subscribe("t", qos=qos)
    for turn in range(2):
        ids = range(20 * turn + 1, 20 * turn + 11)
        burst(both, qos=qos, packet_ids=ids)
        assert _got(other) == PAYLOADS
        assert _got(both) == []
        burst(other, qos=qos, packet_ids=ids)
        assert _got(both) == PAYLOADS
        assert _got(other) == PAYLOADS


@every_version
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_for_a_client_that_is_away(version: int, qos: int) -> None:
    broker = Broker(max_mqueue_len=24)
    subscriber, publisher = _persistent(broker, version), broker.connect("p", version)
    subscriber.subscribe("t", qos=qos)
    publisher.publish("t", b"first", qos=qos)
    subscriber.messages()
    subscriber.drop()
    for turn in range(3):
        burst(publisher, qos=qos, packet_ids=range(10 * turn + 1, 10 * turn + 11))
    session = broker.engine.sessions.get("s")
    assert session is not None
    assert session.queue is not None
    assert len(session.queue) == 24
    assert broker.dropped("queue_full") == 6
    back = _persistent(broker, version)
    assert back.payloads() == PAYLOADS * 2 + PAYLOADS[:4]
    assert session.queue is None
    assert not session.inflight.messages


def test_messages_that_wait_leave_in_order_as_the_window_has_room() -> None:
    broker = Broker()
    subscriber, publisher = broker.connect("s", receive_maximum=4), broker.connect("p")
    subscriber.subscribe("t", qos=1)
    for turn in range(4):
        burst(publisher, qos=1, packet_ids=range(10 * turn + 1, 10 * turn + 11))
    got: list[bytes] = []
    while messages := [packet for packet in subscriber.packets() if isinstance(packet, Publish)]:
        assert len(messages) <= 4
        got += [message.payload for message in messages]
        subscriber.send(*(Puback(message.packet_id) for message in messages))
    assert got == PAYLOADS * 4


def test_messages_that_wait_are_bounded_in_bytes() -> None:
    broker = Broker(limits=Limits(max_queued_bytes=12_000))
    subscriber, publisher = _persistent(broker, 5), broker.connect("p")
    subscriber.subscribe("t", qos=1)
    publisher.publish("t", qos=1)
    subscriber.messages()
    subscriber.drop()
    for turn in range(5):
        burst(publisher, qos=1, packet_ids=range(10 * turn + 1, 10 * turn + 11))
    waiting = _persistent(broker, 5).payloads()
    assert len(waiting) + broker.dropped("queue_full") == 50
    assert waiting == (PAYLOADS * 5)[: len(waiting)]
    assert 25 < len(waiting) < 40


def _got(client: Client) -> list[bytes]:
    """The payloads of the messages among what has come."""
    return [packet.payload for packet in client.packets() if isinstance(packet, Publish)]


def _persistent(broker: Broker, version: int) -> Client:
    if version == 5:
        return broker.connect("s", 5, clean_start=False, session_expiry_interval=1000)
    return broker.connect("s", version, clean_start=False)


def test_more_than_the_receive_maximum() -> None:
    """What may be handled is; the first that is too much ends the connection."""
    broker = Broker(receive_maximum=5)
    subscriber, publisher = broker.connect("s"), broker.connect("p")
    subscriber.subscribe("t", qos=2)
    publisher.publish("t", b"first", qos=2)
    subscriber.message()
    burst(publisher, qos=2, packet_ids=range(1, 11))
    publisher.packets()
    assert subscriber.payloads() == PAYLOADS[:5]
    assert publisher.is_closed


def test_a_qos_that_is_not_served() -> None:
    broker = Broker(max_qos=1)
    subscriber, publisher = broker.connect("s"), broker.connect("p")
    subscriber.subscribe("t", qos=1)
    publisher.publish("t", qos=1)
    subscriber.message()
    burst(publisher, qos=2, packet_ids=range(1, 11))
    publisher.closed(ReasonCode.QOS_NOT_SUPPORTED)
    subscriber.nothing()


def test_nobody_to_acknowledge_for() -> None:
    publisher = Broker().connect("p")
    for _ in range(2):
        burst(publisher, payloads=[b"", b""], qos=1, packet_ids=(1, 2))
        nobody = ReasonCode.NO_MATCHING_SUBSCRIBERS
        assert publisher.packets() == [Puback(1, nobody), Puback(2, nobody)]


@every_version
def test_acknowledgements(version: int) -> None:
    """All that a window of QoS 2 messages takes, each kind in one read."""
    broker = Broker()
    subscriber, publisher = broker.connect("s", version), broker.connect("p", version)
    subscriber.subscribe("t", qos=2)
    ids = range(1, 6)
    for qos in (1, 2):
        publisher.send(*(make_publish("t", b"%d" % n, qos=qos, packet_id=n, version=version) for n in ids))
        messages = [subscriber.next(Publish) for _ in ids]
        assert [message.payload for message in messages] == [b"%d" % n for n in ids]
        theirs = [message.packet_id for message in messages]
        received = broker.engine.counters.packets_received
        if qos == 1:
            assert publisher.packets() == [Puback(n) for n in ids]
            subscriber.send(*map(Puback, theirs))
            assert broker.engine.counters.packets_received - received == 5
            continue
        assert publisher.packets() == [Pubrec(n) for n in ids]
        publisher.send(*map(Pubrel, ids))
        assert publisher.packets() == [Pubcomp(n) for n in ids]
        subscriber.send(*map(Pubrec, theirs))
        assert subscriber.packets() == [Pubrel(n) for n in theirs]
        subscriber.send(*map(Pubcomp, theirs))
        assert broker.engine.counters.packets_received - received == 15
    session = broker.engine.sessions.get("s")
    assert session is not None
    assert not session.inflight.messages


def test_acknowledgements_of_nothing_are_answered_each() -> None:
    client = Broker().connect()
    client.send(*map(Pubrel, (7, 8)))
    not_found = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
    assert client.packets() == [Pubcomp(7, not_found), Pubcomp(8, not_found)]
    client.send(*map(Pubrec, (7, 8)))
    assert client.packets() == [Pubrel(7, not_found), Pubrel(8, not_found)]
    client.send(*map(Pubcomp, (7, 8)), *map(Puback, (7, 8)))
    client.nothing()


def test_an_identifier_of_0_among_acknowledgements() -> None:
    client = Broker().connect()
    client.send_bytes(b"\x40\x02\x00\x01\x40\x02\x00\x00")
    client.closed(ReasonCode.PROTOCOL_ERROR)
