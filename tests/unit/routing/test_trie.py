"""The trie and the retained store against the plain rule of `matches`, on topics that nobody chose."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker.broker.routing.retained import A_STEP, MANY_GONE, RetainedMessages
from pybroker.broker.routing.topics import matches
from pybroker.broker.routing.trie import Trie

LEVEL = st.sampled_from(["a", "b", "$x", ""])
TOPICS = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = st.builds(
    lambda levels, rest: "/".join(levels + rest),
    st.lists(st.one_of(LEVEL, st.just("+")), max_size=3),
    st.sampled_from([["#"], ["a"], ["+"], [""]]),
).filter(bool)


@given(st.lists(st.tuples(FILTERS, st.integers(0, 3))), TOPICS)
def test_the_trie_finds_what_matches(pairs: list[tuple[str, int]], topic: str) -> None:
    trie: Trie[int, str] = Trie()
    for topic_filter, key in pairs:
        trie.set(topic_filter, key, topic_filter)
    found = sorted((value, key) for here in trie.match(topic) for key, value in here.items())
    assert found == sorted({(f, key) for f, key in pairs if matches(f, topic)})
    assert len(trie) == len(set(pairs))
    assert sorted((f, k) for f, k, _ in trie.items()) == sorted(set(pairs))


@given(st.lists(st.tuples(FILTERS, st.integers(0, 2)), unique=True), st.data())
def test_what_is_removed_leaves_nothing_behind(pairs: list[tuple[str, int]], data: st.DataObject) -> None:
    trie: Trie[int, str] = Trie()
    for topic_filter, key in pairs:
        trie.set(topic_filter, key, topic_filter)
    for topic_filter, key in data.draw(st.permutations(pairs)):
        assert trie.get(topic_filter, key) == topic_filter
        assert trie.remove(topic_filter, key)
        assert not trie.remove(topic_filter, key)
        assert trie.get(topic_filter, key) is None
    assert len(trie) == 0
    assert trie._root.below is None
    assert trie._root.here is None


@dataclass
class Message:
    text: str
    expires_at: float | None = None


def found(store: RetainedMessages[Message], topic_filter: str) -> list[str]:
    """The topics of the messages that match."""
    return sorted(t for t in store.find(topic_filter) if t is not None and store.get(t) is not None)


@given(st.lists(st.tuples(st.sampled_from(["set", "remove", "find"]), TOPICS), max_size=40), FILTERS)
def test_retained_messages_are_found_by_filter(steps: list[tuple[str, str]], topic_filter: str) -> None:
    store: RetainedMessages[Message] = RetainedMessages()
    topics: set[str] = set()
    for step, topic in steps:
        if step == "set":
            assert store.set(topic, Message(topic))
            topics.add(topic)
        elif step == "remove":
            assert store.remove(topic) is (topic in topics)
            topics.discard(topic)
        else:
            assert found(store, topic) == ([topic] if topic in topics else [])
        assert found(store, topic_filter) == sorted(t for t in topics if matches(topic_filter, t))
    assert len(store) == len(topics)
    assert set(store) == topics


@pytest.mark.parametrize("topic_filter", ["#", "+/+", "a/#"])
def test_a_search_finds_what_is_there_all_the_time(topic_filter: str) -> None:
    store: RetainedMessages[Message] = RetainedMessages()
    for number in range(3000):
        store.set(f"a/{number}", Message("stays" if number % 3 else "goes"))
    search = store.find(topic_filter)
    seen = [next(search) for _ in range(5)]
    for number in range(0, 3000, 3):
        assert store.remove(f"a/{number}")
        assert store.set(f"b/{number}", Message("new"))
    for number in range(0, 3000, 3):
        assert store.remove(f"b/{number}")
    seen += search
    stays = [f"a/{number}" for number in range(3000) if number % 3]
    assert [t for t in seen if t is not None and store.get(t) is not None] == stays


def test_topics_that_come_and_go_take_no_memory() -> None:
    store: RetainedMessages[Message] = RetainedMessages()
    for number in range(10 * MANY_GONE):
        store.set(f"a/{number}", Message("here"))
        assert found(store, f"+/{number}") == [f"a/{number}"]
        assert store.remove(f"a/{number}")
    assert len(store._topics) <= MANY_GONE + 1
    assert len(store._root.below["a"].below) <= MANY_GONE + 1


def test_the_tree_is_made_in_small_steps() -> None:
    store: RetainedMessages[Message] = RetainedMessages()
    for number in range(1000):
        store.set(f"a/{number}", Message("here"))
    search = store.find("+/999")
    before = 0
    for topic in search:
        assert store._in_tree - before <= A_STEP
        before = store._in_tree
        if topic is not None:
            break
    assert topic == "a/999"


def test_an_expired_message_is_gone() -> None:
    store: RetainedMessages[Message] = RetainedMessages()
    store.set("a/b", Message("old", expires_at=10))
    store.set("a/c", Message("new", expires_at=20))
    store.expire(10)
    assert found(store, "a/#") == ["a/c"]
    assert len(store) == 1
    store.expire(20)
    assert len(store) == 0


def test_the_store_takes_no_more_topics_than_its_limit() -> None:
    store: RetainedMessages[Message] = RetainedMessages(limit=1)
    assert store.set("a", Message("1"))
    assert not store.set("b", Message("2"))
    assert store.set("a", Message("3"))
    assert store.get("a") == Message("3")
    assert store.get("b") is None
