"""Retained messages: the last one of each topic, found by topic filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar

from .topics import has_wildcard


class Expiring(Protocol):
    """The part of a message that the store reads."""

    @property
    def expires_at(self) -> float | None: ...


M = TypeVar("M", bound=Expiring)


MANY_GONE = 1000
"""Topics without a message are forgotten when there are this many more of them than messages."""
A_STEP = 100
"""The number of topics that are added to the tree in one step."""


class _Level:
    __slots__ = ("below", "topic")

    def __init__(self) -> None:
        # Made on first use: most levels are the last of their topic.
        self.below: dict[str, _Level] | None = None
        self.topic: str | None = None


class RetainedMessages(Generic[M]):
    """Topic name to message, at most ``limit`` messages (0: no bound).

    A message is stored in one step. Only filters with a wildcard need the tree of levels. It is made for the
    first of them, and later extended by the topics that are new.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._messages: dict[str, M] = {}
        self._topics: list[str] = []
        """The topics in the order in which they were first stored, each once, with those of :attr:`_gone`.
        The list is replaced when topics leave it, so iterators over the old list are not disturbed."""
        self._gone: set[str] = set()
        """Topics of the list that have no message any more."""
        self._root = _Level()
        """The tree. It may also have topics that are gone."""
        self._in_tree = 0
        """The number of topics, from the first on, that are in the tree."""
        self._promised: dict[str, Callable[[], M]] = {}
        """The topics whose message is made on demand. They are neither in the list nor in the tree. All begin
        with ``$``."""
        self.watchers: tuple[Callable[[str, M | None], None], ...] = ()
        """Called with each topic whose message was replaced or removed."""

    def __len__(self) -> int:
        return len(self._messages) + len(self._promised)

    def __iter__(self) -> Iterator[str]:
        return chain(self._messages, self._promised)

    def get(self, topic: str) -> M | None:
        message = self._messages.get(topic)
        if message is None and topic in self._promised:
            return self._promised[topic]()
        return message

    def set(self, topic: str, message: M) -> bool:
        """Store ``message``; it replaces the topic's last one. Returns False if the store is full of other
        topics."""
        messages = self._messages
        if topic not in messages:
            if self._promised.pop(topic, None) is None and self._is_full:
                return False
            if topic in self._gone:
                self._gone.discard(topic)
            else:
                self._topics.append(topic)
        messages[topic] = message
        for watcher in self.watchers:
            watcher(topic, message)
        return True

    def promise(self, topic: str, make: Callable[[], M]) -> bool:
        """As :meth:`set`, for a message without expiry that ``make`` makes on demand. Most messages about
        clients are removed before anybody asks. ``topic`` begins with ``$``."""
        if topic in self._messages or self.watchers:
            return self.set(topic, make())
        if topic not in self._promised and self._is_full:
            return False
        self._promised[topic] = make
        return True

    def remove(self, topic: str) -> bool:
        """Remove the topic's message; False if there was none."""
        if self._promised and self._promised.pop(topic, None) is not None:
            for watcher in self.watchers:
                watcher(topic, None)
            return True
        if self._messages.pop(topic, None) is None:
            return False
        self._gone.add(topic)
        if len(self._gone) > len(self._messages) + MANY_GONE:
            self._topics = list(self._messages)
            self._forget_tree()
        for watcher in self.watchers:
            watcher(topic, None)
        return True

    def clear(self) -> None:
        topics = list(self) if self.watchers else []
        self._messages.clear()
        self._promised.clear()
        self._topics = []
        self._forget_tree()
        for topic in topics:
            for watcher in self.watchers:
                watcher(topic, None)

    def find(self, topic_filter: str) -> Iterator[str | None]:
        """The topics that match, one by one, and some that have no message any more. Yields None after a step
        that found none. The store may change meanwhile: every topic that is there all the time is found."""
        if not has_wildcard(topic_filter):
            yield topic_filter
            return
        if topic_filter[:1] == "$":  # others match none of the promised [MQTT-4.7.2-1]
            for topic in list(self._promised):
                if (make := self._promised.get(topic)) is not None:
                    self.set(topic, make())
                yield None
        if topic_filter == "#":
            topics = self._topics
            for at in range(len(topics)):
                yield topics[at] if topics[at][:1] != "$" else None  # [MQTT-4.7.2-1]
        else:
            while self._in_tree < len(self._topics):
                self._extend_tree()
                yield None
            yield from _find(self._root, topic_filter.split("/"))

    def _extend_tree(self) -> None:
        """Add the next topics to the tree."""
        start = self._in_tree
        few = self._topics[start : start + A_STEP]
        self._in_tree = start + len(few)
        for topic in few:
            level = self._root
            for name in topic.split("/"):
                if level.below is None:
                    level.below = {}
                nxt = level.below.get(name)
                if nxt is None:
                    nxt = level.below[name] = _Level()
                level = nxt
            level.topic = topic

    def _forget_tree(self) -> None:
        self._gone.clear()
        self._root = _Level()
        self._in_tree = 0

    def expire(self, now: float) -> None:
        """Remove the messages that have expired by ``now``."""
        due = [t for t, m in self._messages.items() if m.expires_at is not None and m.expires_at <= now]
        for topic in due:
            self.remove(topic)

    @property
    def _is_full(self) -> bool:
        return bool(self.limit) and len(self) >= self.limit


def _find(root: _Level, wanted: list[str]) -> Iterator[str | None]:
    """The topics in the tree that match the levels of a filter; None after a step that found none."""
    # The levels whose children are searched: the place in the filter, and the children that are left.
    open_levels: list[tuple[_Level, int, Iterator[str]]] = []
    level: _Level | None = root
    depth = 0
    while level is not None or open_levels:
        if level is None:
            parent, depth, names = open_levels[-1]
            name = next(names, None)
            if name is None:
                open_levels.pop()
            elif parent is not root or name[:1] != "$":  # [MQTT-4.7.2-1]
                level = (parent.below or {}).get(name)
            yield None
            continue
        name = wanted[depth] if depth < len(wanted) else None
        yield level.topic if name in (None, "#") else None  # a/# matches a too
        below, here, level = level.below, level, None
        if not below or name is None:
            continue
        if name == "#":
            open_levels.append((here, depth, iter(list(below))))
        elif name == "+":
            open_levels.append((here, depth + 1, iter(list(below))))
        elif name in below:
            level, depth = below[name], depth + 1
