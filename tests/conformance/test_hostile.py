"""Clients that send what they should not: the broker harms nobody else, and takes no more than its share."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker.broker.config.settings import Limits
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import (
    Disconnect,
    Packet,
    Publish,
    Subscribe,
    SubscribeFilter,
    Unsubscribe,
    Will,
)
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker, Client, connect_packet
from tests.packets.strategies import connects, packets

from .versions import every_version

R = ReasonCode

pieces = st.lists(st.integers(0, 100), max_size=6)
damage = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3)


class Bystander:
    """A client beside the one that misbehaves: for it everything goes on as ever."""

    def __init__(self, broker: Broker) -> None:
        self.client = broker.connect("bystander", session_expiry_interval=60)
        self.client.subscribe("bystander/only", qos=2)
        self.sent = 0

    def is_well(self) -> None:
        for qos in (0, 1, 2):
            self.sent += 1
            assert self.client.publish("bystander/only", b"%d" % self.sent, qos=qos) == R.SUCCESS
            found = [m for m in self.client.messages() if m.topic == "bystander/only"]
            assert [m.payload for m in found][-1:] == [b"%d" % self.sent]
        self.client.ping()
        self.client.nothing()


def feed(client: Client, stream: bytes, cuts: list[int]) -> None:
    """Send ``stream`` in the pieces that ``cuts`` (in percent) make of it; nothing may be raised."""
    edges = [0, *sorted(len(stream) * cut // 100 for cut in cuts), len(stream)]
    for start, stop in pairwise(edges):
        client.send_bytes(stream[start:stop])


def consistent(broker: Broker) -> None:
    """What the engine counts is what there is."""
    engine = broker.engine
    connected = [session for session in engine.sessions if session.connected]
    assert engine.connected == len(connected)
    for session in connected:
        assert session.channel in engine.channels
        assert not session.channel.closed
    for channel in engine.channels:
        assert not channel.closed
        assert not channel.link.closed
    assert engine.pending.outboxes == []


@pytest.mark.parametrize("version", [3, 4, 5])
def test_any_packets_in_any_order(version: int) -> None:
    @given(
        first=st.none() | connects(version),
        rest=st.lists(packets(version) | connects(version), max_size=12),
        cuts=pieces,
        later=st.integers(0, 200),
    )
    def check(first: Packet | None, rest: list[Packet], cuts: list[int], later: int) -> None:
        broker = Broker(max_topic_alias=10, receive_maximum=5)
        bystander = Bystander(broker)
        client = broker.dial(version)
        sent = [first or connect_packet("c", version), *rest]
        feed(client, b"".join(encode(packet, version) for packet in sent), cuts)
        consistent(broker)
        bystander.is_well()
        broker.clock.advance(later)
        client.drop()
        consistent(broker)
        bystander.is_well()

    check()


@pytest.mark.parametrize("version", [3, 4, 5])
def test_any_packets_with_bytes_changed(version: int) -> None:
    @given(rest=st.lists(packets(version), max_size=6), damage=damage, cuts=pieces)
    def check(rest: list[Packet], damage: list[tuple[int, int]], cuts: list[int]) -> None:
        broker = Broker()
        bystander = Bystander(broker)
        client = broker.connect("c", version)
        stream = bytearray(b"".join(encode(packet, version) for packet in rest))
        for position, value in damage:
            if stream:
                stream[position % len(stream)] = value
        feed(client, bytes(stream), cuts)
        consistent(broker)
        bystander.is_well()

    check()


@settings(max_examples=300)
@given(raw=st.binary(max_size=100), cuts=pieces, connected=st.sampled_from((None, 3, 4, 5)))
def test_any_bytes(raw: bytes, cuts: list[int], connected: int | None) -> None:
    broker = Broker()
    bystander = Bystander(broker)
    client = broker.dial(4) if connected is None else broker.connect("c", connected)
    feed(client, raw, cuts)
    consistent(broker)
    bystander.is_well()


@every_version
def test_a_victims_identifier_is_taken_over_and_taken_back(version: int) -> None:
    broker = Broker()
    bystander = Bystander(broker)
    kept = {"session_expiry_interval": 60} if version == 5 else {}
    thief = broker.connect("bystander", version, clean_start=False, **kept)
    bystander.client.closed(R.SESSION_TAKEN_OVER)
    bystander.client = bystander.client.again(session_expiry_interval=60)
    assert thief.is_closed
    bystander.is_well()


# Memory


def test_promised_bytes_take_no_memory() -> None:
    broker = Broker(max_packet_size=268_435_460)
    clients = [broker.connect(f"c{n}", 5) for n in range(200)]
    tracemalloc.start()
    try:
        for client in clients:
            client.send_bytes(b"\x30\xff\xff\xff\x7f\x00\x01")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("first", [b"\x10", b"\x30"])
def test_strangers_get_little_memory(first: bytes) -> None:
    """However large packets may be: who has not said a name yet may send a CONNECT, and no more."""
    broker = Broker(max_packet_size=268_435_460)
    stranger = broker.dial(5)
    stranger.send_bytes(first + b"\x80\x80\x40")  # a megabyte
    assert stranger.link.closed


def test_a_connect_with_everything_at_its_longest_is_no_stranger_s() -> None:
    longest = "x" * 0xFFFF
    will = Will(longest, bytes(0xFFFF), properties=Properties(correlation_data=bytes(0xFFFF)))
    broker = Broker(limits=Limits(max_topic_levels=1_000_000))
    broker.connect(longest, 5, username=longest, password=bytes(0xFFFF), will=will)


def grown(action: Callable[[], None]) -> int:
    """How many bytes more are in use after ``action``."""
    action()  # what is made once and kept
    tracemalloc.start()
    try:
        action()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_a_client_that_comes_and_goes_leaves_nothing() -> None:
    broker = Broker()

    def come_and_go() -> None:
        for number in range(300):
            client = broker.connect(f"c{number}", 5)
            client.subscribe(f"a/{number}/+", qos=1)
            client.publish(f"a/{number}/x", qos=2)
            client.send_publish("b", qos=2)
            client.drop()
        broker.clock.advance(100)

    assert grown(come_and_go) < 10_000
    assert len(broker.engine.sessions) == 0
    assert len(broker.engine.router) == 0


def test_subscriptions_that_come_and_go_leave_nothing() -> None:
    client = Broker().connect()

    def subscribe() -> None:
        for number in range(500):
            topic_filter = "/".join(str(number * depth) for depth in range(20))
            client.subscribe(topic_filter)
            client.unsubscribe(topic_filter)

    assert grown(subscribe) < 10_000


def test_retained_messages_are_bounded() -> None:
    broker = Broker(limits=Limits(max_retained=50))
    client = broker.connect()
    for number in range(200):
        client.publish(f"t/{number}", qos=1, retain=True)
    assert len(broker.retained()) == 50
    client.publish("t/0", b"new", retain=True)  # a topic that is there may change
    assert broker.retained()["t/0"] == b"new"


def test_subscriptions_of_a_session_are_bounded() -> None:
    client = Broker(limits=Limits(max_subscriptions=10)).connect()
    client.send(Subscribe(1, [SubscribeFilter(f"t{n}", 0) for n in range(1000)]))
    assert len(client.packets()) == 1
    session = client.broker.engine.sessions.get("c")
    assert session is not None
    assert len(session.subscriptions) == 10


# Time


def seconds(action: Callable[[], None]) -> float:
    best = float("inf")
    for _ in range(3):
        start = process_time()
        action()
        best = min(best, process_time() - start)
    return best


def connected(**limits: int) -> Client:
    broker = Broker(max_packet_size=268_435_460, limits=Limits(**limits))
    return broker.connect("c", 5)


def many_filters(size: int) -> Callable[[], None]:
    packet = encode(Subscribe(1, [SubscribeFilter(f"t/{n}", 0) for n in range(size)]), 5)
    return lambda: connected(max_subscriptions=1_000_000).send_bytes(packet)


def many_user_properties(size: int) -> Callable[[], None]:
    properties = Properties(user_properties=(("k", "v"),) * size)
    packet = encode(make_publish("t", b"", qos=1, packet_id=1, properties=properties, version=5), 5)

    def send() -> None:
        client = connected()
        client.subscribe("t", qos=1)
        client.send_bytes(packet)

    return send


def many_levels(size: int) -> Callable[[], None]:
    def send() -> None:
        client = connected(max_topic_levels=1_000_000)
        client.subscribe("/".join("+" * size))
        client.subscribe("/".join("+" * (size // 2)) + "/#")
        client.publish("/".join("a" * size), retain=True)

    return send


def single_bytes(size: int) -> Callable[[], None]:
    packet = encode(make_publish("t", bytes(size), version=5), 5)

    def send() -> None:
        client = connected()
        for position in range(len(packet)):
            client.send_bytes(packet[position : position + 1])

    return send


class Later:
    """An answer that is not there yet."""

    def __await__(self) -> Iterator[None]:
        raise AssertionError("nobody waits for it: the test answers itself")
        yield


def decisions_that_take_their_time(size: int) -> Callable[[], None]:
    """One read with many messages, and access control suspends the client for each of them."""
    stream = b"".join(encode(make_publish(f"t/{n}", b"", version=5), 5) for n in range(size))

    def send() -> None:
        client = connected()
        waiting = client.broker.waiting

        client.broker.engine.access.authorize = lambda client, topic, action: Later()  # type: ignore[method-assign]
        client.channel.checks_topics = True
        client.send_bytes(stream)
        while waiting:
            answer, then = waiting.pop(0)
            answer.close()
            then(True)
        assert client.broker.engine.counters.publish_received == size

    return send


def takeovers(size: int) -> Callable[[], None]:
    def connect() -> None:
        client = connected()
        for _ in range(size // 10):
            client.broker.connect("c", 5)

    return connect


@pytest.mark.parametrize(
    "attack",
    [
        many_filters,
        many_user_properties,
        many_levels,
        single_bytes,
        decisions_that_take_their_time,
        takeovers,
    ],
    ids=lambda attack: attack.__name__,
)
def test_work_grows_with_the_bytes_and_not_with_their_square(
    attack: Callable[[int], Callable[[], None]],
) -> None:
    """Eight times the bytes take about eight times as long; 64 times would be the square."""
    small, large = attack(1500), attack(12_000)
    assert seconds(large) < 30 * seconds(small) + 0.01


# What a client may say that means nothing


@every_version
def test_disconnect_and_more(version: int) -> None:
    broker = Broker()
    bystander = Bystander(broker)
    client = broker.connect("c", version)
    client.send(Disconnect(), *[make_publish("bystander/only", b"late", version=version)] * 3)
    client.closed()
    assert not any(isinstance(packet, Publish) for packet in bystander.client.packets())
    bystander.is_well()


LONG = "\1" * 65_000
"""Four times as long where an error message quotes it."""


@pytest.mark.one_node
@every_version
@pytest.mark.parametrize(
    "packet",
    [
        make_publish(LONG + "#", b""),
        make_publish("$SYS/" + LONG, b"", qos=1, packet_id=1),
        Subscribe(1, [SubscribeFilter(LONG + "#", 0)]),
        Unsubscribe(1, [LONG + "#"]),
    ],
    ids=lambda packet: type(packet).__name__,
)
def test_what_is_wrong_may_be_too_long_to_quote(broker: Broker, version: int, packet: Packet) -> None:
    broker.engine.access.deny_disconnects = True
    bystander = Bystander(broker)
    client = broker.connect("c", version)
    if isinstance(packet, Publish):
        packet = make_publish(
            packet.topic, packet.payload, qos=packet.qos, packet_id=packet.packet_id, version=version
        )
    client.send(packet)
    assert client.is_closed
    assert len(client.link.written) < 1000
    bystander.is_well()


@pytest.mark.parametrize(
    "options",
    [
        {"authentication_method": LONG[:50_000]},
        {"will": Will(LONG + "/#", b"")},
        {"will": Will(LONG, b"")},
    ],
)
def test_a_connect_that_is_refused_may_be_too_long_to_quote(
    broker: Broker, options: dict[str, object]
) -> None:
    broker.engine.access.authorizers = (lambda client, topic, action: False,)
    client = broker.dial()
    client.send_connect("c", **options)
    assert client.is_closed
    assert 4 < len(client.link.written) < 1000
