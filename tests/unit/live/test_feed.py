"""The live feed: complete while little happens, a sample under a flood, nothing while nobody watches."""

from __future__ import annotations

from pybroker.broker.engine.publish import broadcast
from pybroker.broker.events import ClientConnected, ClientDisconnected, MessagePublished
from pybroker.broker.live.feed import (
    BURST,
    LONGEST_PAUSE,
    READER_BYTES,
    READER_EVENTS,
    SLICE,
    Entry,
    Feed,
    Reader,
)
from tests.harness import Broker


class Woken:
    """Counts how often it was called."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def topics(reader: Reader) -> list[str]:
    return [one.event.topic for one in reader.take() if isinstance(one.event, MessagePublished)]


def test_messages_and_clients_as_they_come() -> None:
    broker, woken = Broker(), Woken()
    reader = Feed(broker.engine).open("a/#", woken)
    client = broker.connect("c")
    client.publish("a/b", b"1")
    client.publish("b", b"2")
    client.disconnect()
    connected, message, disconnected = (one.event for one in reader.take())
    assert isinstance(connected, ClientConnected)
    assert isinstance(message, MessagePublished)
    assert (message.topic, message.payload, message.publisher) == ("a/b", b"1", connected.client)
    assert isinstance(disconnected, ClientDisconnected)
    assert woken.times == 3
    assert reader.take() == []


def test_topics_of_the_broker_only_where_asked_for() -> None:
    broker = Broker()
    feed = Feed(broker.engine)
    everything, own = feed.open("#", Woken()), feed.open("$SYS/#", Woken())
    broadcast(broker.engine, "$SYS/brokers/uptime", b"1")
    broker.engine.flush()
    assert topics(everything) == []
    assert topics(own) == ["$SYS/brokers/uptime"]


def test_a_flood_is_sampled_and_what_passes_is_counted() -> None:
    broker = Broker()
    feed = Feed(broker.engine)
    woken = Woken()
    reader = feed.open("#", woken)
    client = broker.connect("c")
    for _ in range(10 * BURST):
        client.publish("a", b"x")
    assert topics(reader) == ["a"] * BURST
    before = woken.times
    assert feed.sampling
    assert not broker.engine.hooks.message_published, "the engine is observed during the pause"
    broker.clock.advance(SLICE)
    assert feed.passed == 9 * BURST
    assert woken.times == before + 1, "it is told, though nothing more may come"
    client.publish("a", b"x")
    assert topics(reader) == ["a"]


def test_pauses_grow_while_the_flood_lasts_and_end_with_it() -> None:
    broker = Broker()
    feed = Feed(broker.engine)
    reader = feed.open("#", Woken())
    client = broker.connect("c")
    shown = 0
    for _ in range(200):  # 20 seconds, a message each millisecond
        for _ in range(100):
            client.publish("a", b"x")
        broker.clock.advance(0.1)
        shown += len(topics(reader))
    assert BURST * 20 / LONGEST_PAUSE / 2 <= shown <= BURST * 16
    broker.clock.advance(LONGEST_PAUSE + SLICE)
    client.publish("a", b"x")
    assert not feed.sampling
    assert shown + feed.passed == 20_000


def test_what_comes_steadily_below_the_limit_is_complete() -> None:
    broker = Broker()
    reader = Feed(broker.engine).open("#", Woken())
    client = broker.connect("c")
    for number in range(900):
        client.publish(f"a/{number}", b"x")
        broker.clock.advance(2 * SLICE / BURST)
    assert topics(reader) == [f"a/{number}" for number in range(900)]


def test_a_slow_reader_is_bounded() -> None:
    broker = Broker()
    reader = Reader("#", Woken())
    small = MessagePublished(at=0, topic="a", payload=b"", qos=0, retain=False, publisher=None)
    for _ in range(READER_EVENTS + 7):
        reader.put(Entry(small))
    assert reader.left_out == 7
    assert len(reader.take()) == READER_EVENTS
    large = MessagePublished(
        at=0, topic="a", payload=bytes(READER_BYTES // 4), qos=0, retain=False, publisher=None
    )
    for _ in range(9):
        reader.put(Entry(large))
    assert len(reader.take()) == 3
    assert broker.engine.hooks.message_published == ()


def test_nothing_is_observed_once_the_last_has_gone() -> None:
    broker = Broker()
    feed = Feed(broker.engine)
    first, second = feed.open("a", Woken()), feed.open("b", Woken())
    client = broker.connect("c")
    feed.close(first)
    first.take()
    client.publish("a", b"1")
    client.publish("b", b"1")
    assert (topics(first), topics(second)) == ([], ["b"])
    for _ in range(2 * BURST):
        client.publish("b", b"1")
    feed.close(second)
    broker.clock.advance(10)
    hooks = broker.engine.hooks
    assert (hooks.message_published, hooks.client_connected, hooks.client_disconnected) == ((), (), ())
    assert not feed.sampling
