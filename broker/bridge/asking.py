"""SUBSCRIBE and UNSUBSCRIBE of one link: few at a time, so that a remote broker that does not answer costs no
memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from ..packets.encoder import encode
from ..packets.model import Suback, Subscribe, SubscribeFilter, Unsuback, Unsubscribe
from . import greeting
from .relay import Relay
from .settings import BridgeSettings

MOST_OPEN = 8
"""Packets that are not answered; further changes wait, the last one of each topic filter."""


class Asking:
    """What the remote broker is asked for, and what it has answered."""

    def __init__(self, settings: BridgeSettings, relay: Relay, version: int, known: set[str]) -> None:
        """``known`` is kept up to date: the topic filters that the session at the remote broker may have."""
        self._settings = settings
        self._relay = relay
        self._version = version
        self._known = known
        self._waiting: dict[str, SubscribeFilter | None] = {}
        """Changes not sent yet; None: UNSUBSCRIBE. Bounded: each is wanted here, or known there."""
        self._open: dict[int, Subscribe | Unsubscribe] = {}

    def begin(self, wanted: Iterable[SubscribeFilter], *, session_present: bool) -> None:
        """The link is new: ask for ``wanted``, and for no other topic filter."""
        if not session_present:
            self._known.clear()
        wanted = list(wanted)
        gone = self._known - {one.topic_filter for one in wanted}
        self.subscribe(wanted)
        for topic_filter in sorted(gone):
            self.unsubscribe(topic_filter)

    def subscribe(self, filters: Iterable[SubscribeFilter]) -> None:
        """Ask for these, once :meth:`packets` may."""
        for one in filters:
            self._waiting.pop(one.topic_filter, None)
            self._waiting[one.topic_filter] = one

    def unsubscribe(self, topic_filter: str) -> None:
        """Take it back, where the remote broker may have it."""
        self._waiting.pop(topic_filter, None)
        if topic_filter in self._known:
            self._waiting[topic_filter] = None

    def packets(self) -> Iterator[bytes]:
        """What may be sent now."""
        while self._waiting and len(self._open) < MOST_OPEN and (packet_id := self._relay.reserve()):
            packet = self._next()
            packet.packet_id = packet_id
            self._open[packet_id] = packet
            yield encode(packet, self._version)

    def _next(self) -> Subscribe | Unsubscribe:
        first = next(iter(self._waiting.values()))
        alike = ((name, one) for name, one in self._waiting.items() if (one is None) == (first is None))
        taken = list(islice(alike, greeting.AT_ONCE))
        for name, _ in taken:
            del self._waiting[name]
        filters = [one for _, one in taken if one is not None]
        if not filters:
            self._known.difference_update(name for name, _ in taken)
            return Unsubscribe(0, [name for name, _ in taken])
        self._known.update(one.topic_filter for one in filters)
        return greeting.subscribe(self._settings, self._version, filters)

    def answered(self, answer: Suback | Unsuback) -> list[str]:
        """A line for each topic filter that the remote broker refuses."""
        asked = self._open.pop(answer.packet_id, None)
        if asked is None:
            return []
        self._relay.answered(answer.packet_id)
        if isinstance(asked, Subscribe) and isinstance(answer, Suback):
            return list(greeting.refusals(asked, answer))
        return []
