"""The feed of published messages, live, for people who watch.

Under a flood the feed samples. It observes at most ``BURST`` messages, then lets go of the hook and takes it
up again after a pause, which grows while the flood lasts. Without the hook the engine handles alike packets
together, as it does when nobody watches, so watching costs the broker next to nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..clock import Timer
from ..engine.engine import Engine
from ..events import ClientConnected, ClientDisconnected, Event, MessagePublished
from ..routing.topics import matches

BURST = 50
"""Messages that are observed before the first pause."""
SLICE = 0.25
"""Seconds in which so many may come without a pause."""
LONGEST_PAUSE = 2.0
READER_EVENTS = 1000
READER_BYTES = 4 << 20
"""The number and the bytes of the messages that may wait for one watcher; more are left out and counted."""
OVERHEAD = 500


class Entry:
    """One event for all watchers."""

    __slots__ = ("event", "size", "text")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.size = OVERHEAD + (len(event.payload) if isinstance(event, MessagePublished) else 0)
        self.text: str | None = None
        """The text that the first watcher made of it, kept for the others."""


class Reader:
    """One watcher, with the messages that it has not taken yet."""

    def __init__(self, topic_filter: str, wake: Callable[[], None]) -> None:
        self.topic_filter = topic_filter
        self.wake = wake
        self.left_out = 0
        """Events that came while too many waited, since the last ``take``."""
        self._waiting: deque[Entry] = deque()
        self._bytes = 0

    def put(self, entry: Entry) -> None:
        if len(self._waiting) >= READER_EVENTS or self._bytes + entry.size > READER_BYTES:
            self.left_out += 1
        else:
            self._waiting.append(entry)
            self._bytes += entry.size
        self.wake()

    def take(self) -> list[Entry]:
        """Remove and return everything that waits, oldest first."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return taken


class Feed:
    """Observes the engine while there is at least one reader."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._readers: tuple[Reader, ...] = ()
        self._observing = False
        self._seen = 0
        """Messages since the feed began to observe, or in this slice."""
        self._slice_ends = 0.0
        self._pause = SLICE
        self._timer: Timer | None = None
        self._passed_at = 0
        """The counter of received messages when the feed stopped to observe."""
        self.passed = 0
        """Messages that were published while the feed did not observe."""

    @property
    def readers(self) -> int:
        """The number of watchers."""
        return len(self._readers)

    @property
    def sampling(self) -> bool:
        """Whether messages arrive faster than they are shown."""
        if not self._observing:
            return bool(self._readers)
        return self._pause > SLICE and self._engine.clock.monotonic() < self._slice_ends

    def open(self, topic_filter: str, wake: Callable[[], None]) -> Reader:
        """Watch messages whose topic ``topic_filter`` matches, and clients. ``wake`` is called for each
        event, on the event loop."""
        reader = Reader(topic_filter, wake)
        hooks = self._engine.hooks
        if not self._readers:
            hooks.observe(ClientConnected, self._client)
            hooks.observe(ClientDisconnected, self._client)
        self._readers = (*self._readers, reader)
        self._observe()
        return reader

    def close(self, reader: Reader) -> None:
        self._readers = tuple(one for one in self._readers if one is not reader)
        if self._readers:
            self._observe()
            return
        self._engine.hooks.forget(self._client)
        self._let_go()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pause = SLICE

    def wake(self) -> None:
        """Wake all watchers, for example at the end."""
        for reader in self._readers:
            reader.wake()

    def _observe(self) -> None:
        """Observe the topics that somebody watches."""
        self._let_go()
        engine = self._engine
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._passed_at:
            self.passed += engine.counters.publish_received - self._passed_at
            self._passed_at = 0
            self.wake()  # so that they are told of them, though no further event may come
        self._seen = 0
        self._slice_ends = engine.clock.monotonic() + SLICE
        self._observing = True
        filters = {reader.topic_filter for reader in self._readers}
        engine.hooks.observe(
            MessagePublished,
            self._message,
            topics=lambda topic: any(matches(topic_filter, topic) for topic_filter in filters),
        )
        engine.router.forget_all_routes()

    def _let_go(self) -> None:
        if self._observing:
            self._observing = False
            self._engine.hooks.forget(self._message)
            self._engine.router.forget_all_routes()

    def _message(self, event: MessagePublished) -> None:
        if not self._observing:
            return  # a route that is being followed has the observer still
        entry = Entry(event)
        for reader in self._readers:
            if matches(reader.topic_filter, event.topic):
                reader.put(entry)
        now = self._engine.clock.monotonic()
        if now >= self._slice_ends:
            self._seen = 0
            self._slice_ends = now + SLICE
            self._pause = SLICE
        self._seen += 1
        if self._seen >= BURST:
            self._rest(now)

    def _rest(self, now: float) -> None:
        self._let_go()
        self._passed_at = (
            self._engine.counters.publish_received + 1
        )  # the counter does not include this message yet
        self._timer = self._engine.clock.call_at(now + self._pause, self._observe)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _client(self, event: Event) -> None:
        entry = Entry(event)
        for reader in self._readers:
            reader.put(entry)
