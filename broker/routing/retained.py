"""Retained messages: the last one of each topic, found by topic filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar

from .topics import has_wildcard, matches


class Expiring(Protocol):
    """What the store must know of a message."""

    @property
    def expires_at(self) -> float | None: ...


M = TypeVar("M", bound=Expiring)


class _Level:
    __slots__ = ("below", "topic")

    def __init__(self) -> None:
        # Made when first needed: most levels are the last of their topic.
        self.below: dict[str, _Level] | None = None
        self.topic: str | None = None


class RetainedMessages(Generic[M]):
    """Topic name to message, at most ``limit`` of them (0: no bound)."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._messages: dict[str, M] = {}
        self._root = _Level()
        self._promised: dict[str, Callable[[], M]] = {}
        """The topics whose message is made when somebody asks for it; they are not in the tree."""
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
        if topic not in self._messages:
            if self._promised.pop(topic, None) is None and self._is_full:
                return False
            level = self._root
            for name in topic.split("/"):
                if level.below is None:
                    level.below = {}
                nxt = level.below.get(name)
                if nxt is None:
                    nxt = level.below[name] = _Level()
                level = nxt
            level.topic = topic
        self._messages[topic] = message
        for watcher in self.watchers:
            watcher(topic, message)
        return True

    def promise(self, topic: str, make: Callable[[], M]) -> bool:
        """As :meth:`set`, with a message that never expires and that ``make`` makes for whoever asks for it.
        Most messages about what comes and goes are gone before anybody does."""
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
        path: list[tuple[dict[str, _Level], str]] = []
        level = self._root
        for name in topic.split("/"):
            assert level.below is not None
            path.append((level.below, name))
            level = level.below[name]
        level.topic = None
        for siblings, name in reversed(path):
            if siblings[name].below or siblings[name].topic is not None:
                break
            del siblings[name]
        for watcher in self.watchers:
            watcher(topic, None)
        return True

    def clear(self) -> None:
        topics = list(self) if self.watchers else []
        self._messages.clear()
        self._promised.clear()
        self._root = _Level()
        for topic in topics:
            for watcher in self.watchers:
                watcher(topic, None)

    def match(self, topic_filter: str, now: float) -> list[tuple[str, M]]:
        """The messages whose topic matches, those that expired by ``now`` removed from the store."""
        found: list[tuple[str, M]] = []
        for topic in self.find(topic_filter):
            message = self.get(topic) if topic is not None else None
            if topic is None or message is None:
                continue
            if message.expires_at is not None and message.expires_at <= now:
                self.remove(topic)
            else:
                found.append((topic, message))
        return found

    def find(self, topic_filter: str) -> Iterator[str | None]:
        """The topics that match, one by one; None after a step that found none. The store may change
        meanwhile: what is there all the time is found."""
        if not has_wildcard(topic_filter):
            yield topic_filter
            return
        for topic in list(self._promised):
            yield topic if matches(topic_filter, topic) else None
        wanted = topic_filter.split("/")
        # The levels whose children are being looked at: what is wanted of these, and which are left.
        open_levels: list[tuple[_Level, int, Iterator[str]]] = []
        level: _Level | None = self._root
        depth = 0
        while level is not None or open_levels:
            if level is None:
                parent, depth, names = open_levels[-1]
                name = next(names, None)
                if name is None:
                    open_levels.pop()
                elif parent is not self._root or name[:1] != "$":  # [MQTT-4.7.2-1]
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

    def expire(self, now: float) -> None:
        """Remove what expired by ``now``."""
        due = [t for t, m in self._messages.items() if m.expires_at is not None and m.expires_at <= now]
        for topic in due:
            self.remove(topic)

    @property
    def _is_full(self) -> bool:
        return bool(self.limit) and len(self) >= self.limit
