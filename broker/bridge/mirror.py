"""The topic filters of local clients, which `transparent` bridges repeat at the remote broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..engine.engine import Engine
from ..events import SessionSubscribed, SessionTerminated, SessionUnsubscribed
from ..routing.topics import split_share
from ..session.registry import INSIDE

Change = Callable[[str, bool], None]
"""Told of a topic filter, and whether somebody wants it now."""


class Mirror:
    """Counts who subscribes to what. Nothing is counted before :meth:`attach`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._of_client: dict[str, set[str]] = {}
        self._wanted: Counter[str] = Counter()
        self._attached = False
        self.changed: Change = lambda topic_filter, wanted: None

    @property
    def filters(self) -> list[str]:
        """Those that somebody has."""
        return list(self._wanted)

    def attach(self) -> None:
        """Begin; harmless where that has been done."""
        if self._attached:
            return
        self._attached = True
        hooks = self._engine.hooks
        hooks.observe(SessionSubscribed, lambda event: self._add(event.client.client_id, event.topic))
        hooks.observe(SessionUnsubscribed, lambda event: self._remove(event.client.client_id, event.topic))
        hooks.observe(SessionTerminated, self._ended)
        for session in self._engine.sessions:
            for topic_filter in session.subscriptions:
                self._add(session.client_id, topic_filter)

    def _add(self, client_id: str, subscribed: str) -> None:
        topic_filter = split_share(subscribed)[1]
        if client_id.startswith(INSIDE) or topic_filter.startswith("$SYS"):
            return
        filters = self._of_client.setdefault(client_id, set())
        if subscribed in filters:
            return
        filters.add(subscribed)
        self._wanted[topic_filter] += 1
        if self._wanted[topic_filter] == 1:
            self.changed(topic_filter, True)

    def _remove(self, client_id: str, subscribed: str) -> None:
        filters = self._of_client.get(client_id)
        if filters is None or subscribed not in filters:
            return
        filters.discard(subscribed)
        if not filters:
            del self._of_client[client_id]
        topic_filter = split_share(subscribed)[1]
        self._wanted[topic_filter] -= 1
        if not self._wanted[topic_filter]:
            del self._wanted[topic_filter]
            self.changed(topic_filter, False)

    def _ended(self, event: SessionTerminated) -> None:
        for topic_filter in list(self._of_client.get(event.client.client_id, ())):
            self._remove(event.client.client_id, topic_filter)
