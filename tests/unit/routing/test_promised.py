"""Retained messages that are made when somebody asks for them."""

from __future__ import annotations

import pytest

from pybroker.broker.packets.encoder import make_publish
from pybroker.broker.packets.model import Publish
from pybroker.broker.routing.retained import RetainedMessages

TOPIC = "$SYS/status/c"


class Maker:
    """Makes a message for TOPIC, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Publish:
        self.made += 1
        return make_publish(TOPIC, b"promised", retain=True)


@pytest.fixture
def make() -> Maker:
    return Maker()


@pytest.fixture
def store() -> RetainedMessages[Publish]:
    return RetainedMessages(limit=2)


def found(store: RetainedMessages[Publish], topic_filter: str) -> list[bytes]:
    found = (store.get(topic) for topic in store.find(topic_filter) if topic is not None)
    return [message.payload for message in found if message is not None]


@pytest.mark.parametrize("topic_filter", [TOPIC, "$SYS/#", "$SYS/status/+", "$SYS/+/c"])
def test_who_asks_gets_it(store: RetainedMessages[Publish], make: Maker, topic_filter: str) -> None:
    assert store.promise(TOPIC, make)
    assert found(store, topic_filter) == [b"promised"]


def test_other_filters_do_not_pass_them(make: Maker) -> None:
    store = RetainedMessages[Publish]()
    for number in range(100):
        store.promise(f"$SYS/status/{number}", make)
    assert len(list(store.find("a/#"))) < 10
    assert len(list(store.find("$SYS/status/+"))) > 100
    assert make.made == 100
    list(store.find("$SYS/#"))
    assert make.made == 100


@pytest.mark.parametrize("topic_filter", ["#", "+/status/c", "$SYS/status"])
def test_nobody_else_does(store: RetainedMessages[Publish], make: Maker, topic_filter: str) -> None:
    store.promise(TOPIC, make)
    assert found(store, topic_filter) == []
    assert make.made == 0


def test_it_counts_without_being_made(store: RetainedMessages[Publish], make: Maker) -> None:
    store.promise(TOPIC, make)
    assert len(store) == 1
    assert list(store) == [TOPIC]
    assert store.set("a", make_publish("a", b"1"))
    assert not store.set("b", make_publish("b", b"2"))  # two is the limit
    assert not store.promise("b", make)
    assert store.promise(TOPIC, make)  # in place of the last
    assert make.made == 0


def test_a_message_takes_its_place(store: RetainedMessages[Publish], make: Maker) -> None:
    store.promise(TOPIC, make)
    store.set(TOPIC, make_publish(TOPIC, b"set"))
    assert found(store, "$SYS/#") == [b"set"]
    store.promise(TOPIC, make)
    assert found(store, "$SYS/#") == [b"promised"]
    assert len(store) == 1


def test_it_can_be_removed(store: RetainedMessages[Publish], make: Maker) -> None:
    store.promise(TOPIC, make)
    assert store.remove(TOPIC)
    assert not store.remove(TOPIC)
    store.promise(TOPIC, make)
    store.clear()
    assert (len(store), store.get(TOPIC), found(store, "$SYS/#")) == (0, None, [])
    assert make.made == 0


def test_watchers_get_a_message_at_once(store: RetainedMessages[Publish], make: Maker) -> None:
    store.promise(TOPIC, make)
    told: list[tuple[str, bool]] = []
    store.watchers = (lambda topic, message: told.append((topic, message is not None)),)
    store.remove(TOPIC)  # promised before anybody watched
    store.promise(TOPIC, make)
    store.remove(TOPIC)
    assert told == [(TOPIC, False), (TOPIC, True), (TOPIC, False)]
    assert make.made == 1


def test_what_is_set_while_somebody_looks_is_found(store: RetainedMessages[Publish], make: Maker) -> None:
    store.promise(TOPIC, make)
    looking = store.find("$SYS/#")
    first = next(looking)
    store.set(TOPIC, make_publish(TOPIC, b"set"))
    assert TOPIC in {first, *looking}
