"""The data of `pybroker top`, which asks once a second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from ..clock import Timer
from ..engine.engine import Engine
from ..events import MessagePublished
from .feed import Feed, Reader
from .numbers import Lag, busiest_clients, overview
from .shown import text_of

FORGOTTEN_AFTER = 5.0
"""Seconds without a look until the feed is closed."""
MAX_TOPICS = 1000
SHOWN = 64
"""The bytes that are shown of a topic's last payload."""

WebhookStats = Callable[[], Sequence[dict[str, Any]]]


class Watch:
    """Begins to observe with the first look, and stops some seconds after the last."""

    def __init__(self, engine: Engine, webhooks: WebhookStats = tuple) -> None:
        self._engine = engine
        self._webhooks = webhooks
        self._feed = Feed(engine)
        self._lag = Lag(engine)
        self._reader: Reader | None = None
        self._timer: Timer | None = None
        self._topics: OrderedDict[str, list[Any]] = OrderedDict()
        """For each topic the number of messages, and the last QoS, retain flag and payload. The topic with
        the oldest message is the first."""

    def look(self, clients: int = 20, topics: int = 20) -> dict[str, Any]:
        """The current numbers. Counters only grow, so the difference between two calls is the activity
        between them."""
        self._begin()
        self._read()
        loudest = sorted(self._topics.items(), key=lambda item: item[1][0], reverse=True)[:topics]
        return {
            "overview": {**overview(self._engine), "lag": self._lag.take()},
            "clients": busiest_clients(self._engine, clients),
            "topics": [
                {"topic": topic, "seen": seen, "qos": qos, "retain": retain, "last": last}
                for topic, (seen, qos, retain, last) in loudest
            ],
            "sampling": self._feed.sampling,
            "passed": self._feed.passed,
            "webhooks": list(self._webhooks()),
        }

    def stop(self) -> None:
        """Stop observing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reader is not None:
            self._feed.close(self._reader)
            self._reader = None
        self._lag.stop()
        self._topics.clear()

    def _begin(self) -> None:
        if self._reader is None:
            self._reader = self._feed.open("#", lambda: None)
            self._lag.start()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._engine.clock.call_at(self._engine.clock.monotonic() + FORGOTTEN_AFTER, self.stop)

    def _read(self) -> None:
        assert self._reader is not None
        for event in (entry.event for entry in self._reader.take()):
            if isinstance(event, MessagePublished):
                entry = self._topics.setdefault(event.topic, [0, 0, False, ""])
                entry[:] = entry[0] + 1, event.qos, event.retain, _shown(event.payload)
                self._topics.move_to_end(event.topic)
        while len(self._topics) > MAX_TOPICS:
            self._topics.popitem(last=False)


def _shown(payload: bytes) -> str:
    cut = len(payload) > SHOWN
    try:
        return text_of(payload[:SHOWN], cut) + ("..." if cut else "")
    except UnicodeDecodeError:
        return payload[:24].hex(" ")
