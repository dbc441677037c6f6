"""`limits {}`, key by key: what takes effect, what the client is told, and what is counted."""

from __future__ import annotations

import pytest

from pybroker.broker.config.settings import Limits, ListenerSettings, MqttSettings
from pybroker.broker.engine import connection_limits
from pybroker.broker.packets.model import Connack, Will
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker, Client


def broker(**limits: float) -> Broker:
    return Broker(limits=Limits(**limits))  # type: ignore[arg-type]


def limited(broker: Broker) -> dict[str, int]:
    return dict(broker.engine.counters.limited)


# max_connections


@pytest.mark.parametrize(
    ("version", "reason"), [(5, ReasonCode.QUOTA_EXCEEDED), (4, ReasonCode.SERVER_UNAVAILABLE)]
)
def test_max_connections(version: int, reason: ReasonCode) -> None:
    full = broker(max_connections=2)
    first = full.connect("a")
    full.connect("b")
    late = full.dial(version)
    assert late.connect("c").reason == reason
    assert late.is_closed
    assert limited(full) == {"max_connections": 1}
    assert full.engine.counters.refused == {"quota_exceeded": 1}
    first.disconnect()
    full.connect("c", version)


def test_a_client_that_comes_again_takes_its_own_place() -> None:
    full = broker(max_connections=1)
    old = full.connect("a")
    full.connect("a")
    assert old.is_closed
    assert full.engine.connected == 1


def test_max_connections_of_one_listener() -> None:
    free = Broker()
    other = ListenerSettings("other", "tcp")
    free.engine.connection_limits.set(
        Limits(), [ListenerSettings("tcp", "tcp", max_connections=1), other], 0.0
    )
    first = free.connect("a")
    assert free.dial().connect("b").reason == ReasonCode.QUOTA_EXCEEDED
    elsewhere = free.dial()
    elsewhere.channel.listener_limits = free.engine.connection_limits["other"]
    assert elsewhere.connect("b").reason == ReasonCode.SUCCESS
    first.drop()
    free.connect("c")
    assert (
        free.engine.connection_limits["tcp"].connected,
        free.engine.connection_limits["other"].connected,
    ) == (1, 1)


def test_connections_that_say_nothing_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybroker.broker.engine.channel.MAX_UNANNOUNCED", 3)
    crowded = broker(max_connections=2)
    silent = [crowded.dial() for _ in range(7)]
    assert [client.link.aborted for client in silent] == [False] * 5 + [True] * 2
    silent[-1].send_bytes(b"\x10\x00")
    silent[-1].drop()
    silent[0].drop()
    assert not crowded.dial().link.aborted
    assert limited(crowded) == {"max_connections": 2}
    assert connection_limits.MAX_UNANNOUNCED > 3


# connect_timeout


def test_connect_timeout() -> None:
    patient = broker(connect_timeout=3.0)
    client = patient.dial()
    patient.clock.advance(2.9)
    assert not client.is_closed
    patient.clock.advance(0.2)
    assert client.is_closed
    assert limited(patient) == {"connect_timeout": 1}


# connect_rate


@pytest.mark.parametrize(
    ("version", "reason"), [(5, ReasonCode.CONNECTION_RATE_EXCEEDED), (4, ReasonCode.SERVER_UNAVAILABLE)]
)
def test_connect_rate(version: int, reason: ReasonCode) -> None:
    busy = Broker()
    busy.engine.connection_limits.set(Limits(connect_rate=2.0), [ListenerSettings("tcp", "tcp")], 0.0)
    answers = [busy.dial(version).connect(f"c{n}").reason for n in range(3)]
    assert answers == [ReasonCode.SUCCESS, ReasonCode.SUCCESS, reason]
    assert limited(busy) == {"connect_rate": 1}
    busy.clock.advance(0.5)
    busy.connect("d")
    assert busy.dial(version).connect("e").reason == reason


@pytest.mark.parametrize(("own", "allowed"), [(None, 1), (3.0, 3), (0.0, 9)])
def test_connect_rate_of_one_listener(own: float | None, allowed: int) -> None:
    busy = Broker()
    busy.engine.connection_limits.set(
        Limits(connect_rate=1.0), [ListenerSettings("tcp", "tcp", connect_rate=own)], 0.0
    )
    answers = [busy.dial().connect(f"c{n}").reason for n in range(9)]
    assert answers.count(ReasonCode.SUCCESS) == allowed


# max_subscriptions, max_topic_levels, max_retained


def test_max_subscriptions() -> None:
    strict = broker(max_subscriptions=2)
    client = strict.connect()
    assert [client.subscribe(topic) for topic in ("a", "b", "c", "a")] == [0, 0, ReasonCode.QUOTA_EXCEEDED, 0]
    assert limited(strict) == {"max_subscriptions": 1}
    client.unsubscribe("a")
    assert client.subscribe("c") == 0


def test_max_topic_levels_of_a_filter() -> None:
    strict = broker(max_topic_levels=3)
    client = strict.connect()
    assert client.subscribe("a/b/c") == 0
    assert client.subscribe("a/b/c/d") == ReasonCode.TOPIC_FILTER_INVALID
    assert limited(strict) == {"max_topic_levels": 1}


def test_max_topic_levels_of_a_message() -> None:
    strict = broker(max_topic_levels=3)
    client = strict.connect()
    client.publish("a/b/c")
    client.send_publish("a/b/c/d")
    client.closed(ReasonCode.TOPIC_NAME_INVALID)
    assert limited(strict) == {"max_topic_levels": 1}


def test_max_topic_levels_of_a_will() -> None:
    strict = broker(max_topic_levels=3)
    assert strict.dial().connect("c", will=Will("a/b/c/d", b"")).reason == ReasonCode.TOPIC_NAME_INVALID
    assert limited(strict) == {"max_topic_levels": 1}


def test_max_retained() -> None:
    strict = broker(max_retained=1)
    client = strict.connect()
    client.publish("a", retain=True)
    client.publish("b", retain=True)
    client.publish("a", b"newer", retain=True)
    assert strict.retained() == {"a": b"newer"}
    assert limited(strict) == {"max_retained": 1}
    assert strict.dropped("quota_exceeded") == 1


# max_queued_bytes


def test_max_queued_bytes() -> None:
    strict = broker(max_queued_bytes=2048)
    subscriber, publisher = strict.connect("s", session_expiry_interval=60), strict.connect("p")
    subscriber.subscribe("t", qos=1)
    subscriber.drop()
    for _ in range(3):
        publisher.publish("t", bytes(500), qos=1)
    assert strict.dropped("queue_full") == 1
    assert limited(strict) == {"max_queued_bytes": 1}
    assert len(subscriber.again().messages()) == 2


def test_too_many_messages_are_not_too_many_bytes() -> None:
    strict = Broker(max_mqueue_len=1)
    subscriber, publisher = strict.connect("s", session_expiry_interval=60), strict.connect("p")
    subscriber.subscribe("t", qos=1)
    subscriber.drop()
    for _ in range(2):
        publisher.publish("t", qos=1)
    assert strict.dropped("queue_full") == 1
    assert limited(strict) == {}


# message_rate, byte_rate


def test_message_rate_slows_the_client_down_and_loses_nothing() -> None:
    slow = broker(message_rate=10.0)
    watch, client = slow.connect("w"), slow.connect("c")
    watch.subscribe("t")
    for n in range(15):
        client.send_publish("t", str(n).encode())
    assert not client.link.reading
    assert len(watch.messages()) == 11, "the one that goes too far is still taken"
    slow.clock.advance(0.09)
    assert not client.link.reading
    slow.clock.advance(10)
    assert client.link.reading
    assert limited(slow)["message_rate"] >= 1
    assert watch.payloads() == [str(n).encode() for n in range(11, 15)]


def test_message_rate_over_a_minute() -> None:
    """A client that sends whatever it can gets through what is allowed, and a second's worth at the start."""
    slow = broker(message_rate=50.0)
    client = slow.connect("c")
    sent = 0
    for _ in range(6000):
        if client.link.reading:
            client.send_publish("t")
            sent += 1
        slow.clock.advance(0.01)
    assert 50 * 60 <= sent <= 50 * 61 + 1
    assert slow.engine.counters.publish_received == sent


def test_nothing_but_publish_counts_as_a_message() -> None:
    slow = broker(message_rate=1.0)
    client = slow.connect("c")
    for _ in range(20):
        client.ping()
    assert client.link.reading


def test_byte_rate() -> None:
    slow = broker(byte_rate=1000)
    client = slow.connect("c")
    slow.clock.advance(1)
    client.send_publish("t", bytes(2990))  # and a head of 7 bytes
    assert not client.link.reading
    slow.clock.advance(1.9)
    assert not client.link.reading
    slow.clock.advance(0.2)
    assert client.link.reading
    assert limited(slow) == {"byte_rate": 1}


def test_who_is_not_read_from_is_not_dead() -> None:
    slow = broker(byte_rate=100)
    client = slow.connect("c", keepalive=1)
    client.send_publish("t", bytes(1000))
    slow.clock.advance(9)
    assert not client.is_closed
    assert not client.link.reading
    slow.clock.advance(10)
    client.closed(ReasonCode.KEEP_ALIVE_TIMEOUT)


def test_a_flood_is_cut_off() -> None:
    slow = broker(message_rate=1.0)
    client = slow.connect("c")
    from pybroker.broker.packets.encoder import encode, make_publish

    packet = encode(make_publish("t", b"x", version=5), 5)
    client.send_bytes(packet * 61)
    assert not client.is_closed
    client.send_bytes(packet * 5)
    slow.clock.advance(1)
    client.closed(ReasonCode.MESSAGE_RATE_TOO_HIGH)


def test_without_limits_nothing_is_metered() -> None:
    assert Broker().connect("c").channel.meter is None


# Failed logins


def guesser(broker: Broker, address: str = "192.0.2.66") -> Client:
    client = broker.dial()
    client.channel.peer = f"{address}:40000"
    client.send_connect("g", username="root", password=b"guess")
    return client


@pytest.fixture
def guarded() -> Broker:
    guarded = Broker()
    guarded.engine.access.authenticators = (
        lambda credentials: (
            ReasonCode.SUCCESS if credentials.password == b"right" else ReasonCode.BAD_USER_NAME_OR_PASSWORD
        ),
    )
    return guarded


def seconds_until_answered(broker: Broker, client: Client) -> float:
    waited = 0.0
    while not client.pending():
        broker.clock.advance(0.25)
        waited += 0.25
        assert waited < 60
    assert client.next(Connack).reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert client.is_closed
    return waited


def test_who_guesses_waits_longer_and_longer(guarded: Broker) -> None:
    waits = [seconds_until_answered(guarded, guesser(guarded)) for _ in range(10)]
    assert waits == [0, 0, 0, 0.5, 1, 2, 4, 8, 8, 8]
    assert limited(guarded) == {"failed_logins": 7}


def test_the_right_password_is_not_held_back_nor_is_another_address(guarded: Broker) -> None:
    for _ in range(8):
        seconds_until_answered(guarded, guesser(guarded))
    pending = guesser(guarded)
    neighbour = guarded.dial()
    neighbour.channel.peer = "192.0.2.66:41000"
    assert neighbour.connect("n", password=b"right").reason == ReasonCode.SUCCESS
    assert seconds_until_answered(guarded, guesser(guarded, "192.0.2.67")) == 0
    assert pending.pending() == 0


def test_an_address_is_forgiven_after_a_while(guarded: Broker) -> None:
    for _ in range(6):
        seconds_until_answered(guarded, guesser(guarded))
    guarded.clock.advance(301)
    assert seconds_until_answered(guarded, guesser(guarded)) == 0


def test_who_does_not_wait_for_the_answer_is_counted_all_the_same(guarded: Broker) -> None:
    for _ in range(8):
        guesser(guarded).drop()
    assert seconds_until_answered(guarded, guesser(guarded)) == 8
    guarded.clock.advance(60)


def test_the_table_of_addresses_is_bounded(guarded: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybroker.broker.engine.failures.MAX_ADDRESSES", 10)
    for n in range(50):
        guesser(guarded, f"192.0.2.{n}")
    assert len(guarded.engine.failures) == 10


def test_a_server_that_cannot_be_asked_is_not_the_clients_failure(guarded: Broker) -> None:
    guarded.engine.access.authenticators = (lambda _: ReasonCode.SERVER_UNAVAILABLE,)
    for _ in range(9):
        assert guesser(guarded).next(Connack).reason == ReasonCode.SERVER_UNAVAILABLE
    assert limited(guarded) == {}


# While running


def test_other_limits_hold_from_now_on() -> None:
    running = Broker()
    client, subscriber = running.connect("c"), running.connect("s", session_expiry_interval=60)
    subscriber.subscribe("t", qos=1)
    subscriber.drop()
    client.publish("t", qos=1)
    mqtt = MqttSettings(max_mqueue_len=2, retry_interval=3.0)
    running.engine.use(mqtt, Limits(max_connections=1, max_topic_levels=2, max_retained=1, message_rate=1.0))
    assert running.dial().connect("d").reason == ReasonCode.QUOTA_EXCEEDED
    client.publish("t", qos=1)
    client.send_publish("t", qos=1)
    assert running.dropped("queue_full") == 1
    assert not client.link.reading
    running.clock.advance(1)
    client.packets()
    client.send_publish("a/b/c")
    client.closed(ReasonCode.TOPIC_NAME_INVALID)
