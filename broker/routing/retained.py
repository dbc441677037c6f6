"""Retained messages: the last one of each topic, found by topic filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar

from .topics import has_wildcard


class Expiring(Protocol):
    """What the store must know of a message."""

    @property
    def expires_at(self) -> float | None: ...


M = TypeVar("M", bound=Expiring)


MANY_GONE = 1000
"""As many more topics than there are messages may be without one before they are forgotten."""
A_STEP = 100
"""How many topics are put into the tree at a time."""


class _Level:
    __slots__ = ("below", "topic")

    def __init__(self) -> None:
        # Made when first needed: most levels are the last of their topic.
        self.below: dict[str, _Level] | None = None
        self.topic: str | None = None


class RetainedMessages(Generic[M]):
    """Topic name to message, at most ``limit`` of them (0: no bound).

    A message is stored in one step. The tree of levels, which only filters with a wildcard need, is made when
    such a filter comes, and extended then by the topics that are new since.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._messages: dict[str, M] = {}
        self._topics: list[str] = []
        """The topics in the order in which they came, each once; those of :attr:`_gone` too. The list is
        replaced where topics leave it, so whoever walks through it is not disturbed."""
        self._gone: set[str] = set()
        """Topics without a message that the list still has."""
        self._root = _Level()
        """The tree, with the topics that are gone and some more."""
        self._in_tree = 0
        """How many of the topics, from the first on, are in the tree."""
        self._promised: dict[str, Callable[[], M]] = {}
        """The topics whose message is made when somebody asks for it; they are neither in the list nor in the
        tree. All begin with ``$``."""
        self.watchers: tuple[Callable[[str, M | None], None], ...] = ()
        """Told of each topic that has another message now, or none."""

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
        """Keep ``message`` in place of the topic's last one; False when the store is full of other topics."""
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
        """As :meth:`set`, with a message without expiry, which ``make`` makes once somebody asks for it.
        Most messages about clients are removed before. ``topic`` begins with ``$``."""
        if topic in self._messages or self.watchers:
            return self.set(topic, make())
        if topic not in self._promised and self._is_full:
            return False
        self._promised[topic] = make
        return True

    def remove(self, topic: str) -> bool:
        """Forget the topic's message; False if there was none."""
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
        """The topics that match, one by one, and some that have no message any more; None after a step that
        found none. The store may change meanwhile: what is there all the time is found."""
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
        """Put the next few topics into the tree."""
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
        """Remove what expired by ``now``."""
        due = [t for t, m in self._messages.items() if m.expires_at is not None and m.expires_at <= now]
        for topic in due:
            self.remove(topic)

    @property
    def _is_full(self) -> bool:
        return bool(self.limit) and len(self) >= self.limit


def _find(root: _Level, wanted: list[str]) -> Iterator[str | None]:
    """The topics in the tree that match the levels of a filter; None after a step that found none."""
    # The levels whose children are being looked at: what is wanted of these, and which are left.
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
