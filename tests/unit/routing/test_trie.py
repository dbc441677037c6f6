"""The trie and the retained store against the plain rule of `matches`, on topics that nobody chose."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pybroker.broker.routing.retained import RetainedMessages
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


@given(st.lists(TOPICS, unique=True), FILTERS)
def test_retained_messages_are_found_by_filter(topics: list[str], topic_filter: str) -> None:
    store: RetainedMessages[Message] = RetainedMessages()
    for topic in topics:
        store.set(topic, Message(topic))
    found = sorted(topic for topic, _ in store.match(topic_filter, 0))
    assert found == sorted(topic for topic in topics if matches(topic_filter, topic))
    for topic in topics:
        assert store.remove(topic)
        assert not store.remove(topic)
    assert len(store) == 0
    assert not store._root.below


def test_an_expired_message_is_gone() -> None:
    store: RetainedMessages[Message] = RetainedMessages()
    store.set("a/b", Message("old", expires_at=10))
    store.set("a/c", Message("new", expires_at=20))
    assert [topic for topic, _ in store.match("a/#", 10)] == ["a/c"]
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
