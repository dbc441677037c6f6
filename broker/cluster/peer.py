"""Another node, as this one sees it: the way there, and what its clients want."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..delivery.neighbour import Neighbour
from ..engine.engine import Engine
from ..events import Client
from ..packets.model import Publish
from ..routing.shared import SharedGroup
from ..routing.subscription import Subscription
from ..session.session import Session
from . import records
from .link import MOST_HELD, Link

MOST_MEMBERS = 1000
"""Of one shared group on one node that are told apart; more are taken for so many."""


class Peer:
    """Has the peer's topic filters in the router, and takes what is for it."""

    def __init__(self, engine: Engine, name: str, incarnation: int) -> None:
        self._engine = engine
        self.name = name
        self.link = Link(incarnation)
        self.session = Neighbour(engine.pending, self, engine.counters)
        self.filters: set[str] = set()
        self.groups: dict[str, tuple[int, int]] = {}
        """Topic filters of shared subscriptions: how many members are connected, and away."""
        self._members: dict[str, list[Session]] = {}
        self.numbers: dict[str, Any] = {}
        """What it last said of itself."""
        self.inbox: deque[tuple[int, bytes]] = deque()
        """Batches that are not dealt with yet."""
        self.source: Client | None = None
        """Who has published what comes now."""
        self.readers = {layout: records.reader(layout, engine.topics) for layout in (4, 5)}
        for reader in self.readers.values():
            reader.runs = True
        self.works = False
        self.unanswered = 0
        """Its messages of which access control has not said yet who may receive them."""
        self.when_answered: Callable[[], None] | None = None
        """What goes on then."""
        self.incarnations = 0
        """How many processes were in its place one after another."""
        self.down_since: float | None = engine.clock.monotonic()
        self.heard_at = engine.clock.monotonic()
        """When its last frame came; at first, since when it is known."""
        self.given_up = False
        """Whether it was away for so long that nothing waits for it any more."""
        self.room: asyncio.Event | None = None
        """While it takes no more: who wants to send more waits for this."""
        self.when_full: Callable[[], None] = _nothing
        self._doubtful: set[str] = set()
        """Filters that it had before it was there anew, and has not told again."""

    def down_for(self, now: float) -> float:
        """Seconds; 0 while it is there."""
        return 0.0 if self.down_since is None else now - self.down_since

    # What its routes lead to.

    def packets(self, layout: int, data: bytes) -> None:
        self._look_whether_full()
        if self.room is not None:
            data = self._without_plain(layout, data)
        if data:
            self.tell(records.packets(layout, data))

    def source_is(self, client: Client | None) -> None:
        self.tell(records.source(client))

    def group(self, topic_filter: str, layout: int, packet: bytes) -> None:
        self._look_whether_full()
        self.tell(records.group(topic_filter, layout, packet))

    def tell(self, record: bytes) -> None:
        """Send a record with the next flush, after all that was sent before. A node that was given up is told
        all when it comes back."""
        if self.given_up:
            return
        self._engine.pending.send(self.link, record)

    def _look_whether_full(self) -> None:
        if self.room is None and self.link.held > MOST_HELD:
            self.room = asyncio.Event()
            self.link.ask()
            self.when_full()

    def _without_plain(self, layout: int, data: bytes) -> bytes:
        """What of these messages may not be dropped."""
        kept: list[bytes] = []
        for packet in records.reader(layout).feed(data):
            if isinstance(packet, Publish) and packet.qos:
                kept.append(packet.wire)
            else:
                self._engine.counters.dropped["neighbour_full"] += 1
        return b"".join(kept)

    # What it says of its routes.

    def subscribed(self, topic_filters: Iterable[str]) -> Iterator[None]:
        """Put the filters into the router, one a step."""
        router = self._engine.router
        for topic_filter in topic_filters:
            self._doubtful.discard(topic_filter)
            if topic_filter not in self.filters:
                self.filters.add(topic_filter)
                router.elsewhere += 1
                router.subscribe(self.session, Subscription(topic_filter, 2, retain_as_published=True))
            yield

    def unsubscribed(self, topic_filters: Iterable[str]) -> Iterator[None]:
        router = self._engine.router
        for topic_filter in topic_filters:
            if topic_filter in self.filters:
                self.filters.discard(topic_filter)
                router.elsewhere -= 1
                router.unsubscribe(self.session, topic_filter)
            yield

    def has_members(self, topic_filter: str, connected: int, away: int) -> None:
        """Of a shared subscription."""
        self._doubtful.discard(topic_filter)
        if connected or away:
            self.groups[topic_filter] = (min(connected, MOST_MEMBERS), min(away, MOST_MEMBERS))
        else:
            self.groups.pop(topic_filter, None)
        self._place_members(topic_filter)

    def look_again(self) -> None:
        """Whether it can be reached has changed: while it cannot, its members count as away."""
        for topic_filter in list(self.groups):
            self._place_members(topic_filter)

    def _place_members(self, topic_filter: str) -> None:
        connected, away = self.groups.get(topic_filter, (0, 0))
        if self.down_since is not None:
            connected, away = 0, connected + away
        members = self._members.pop(topic_filter, [])
        router = self._engine.router
        subscription = Subscription(topic_filter, 2, retain_as_published=True)
        wanted = connected + away
        while len(members) > wanted:
            router.elsewhere -= 1
            router.unsubscribe(members.pop(), topic_filter)
        while len(members) < wanted:
            router.elsewhere += 1
            member = self.session.member(connected=False)
            members.append(member)
            router.subscribe(member, subscription)
        for position, member in enumerate(members):
            member.channel = self if position < connected else None
        if members:
            self._members[topic_filter] = members

    @property
    def has_routes(self) -> bool:
        return bool(self.filters or self.groups)

    def doubt_routes(self) -> None:
        """It may not have what it had, and is about to tell what it has."""
        self._doubtful = {*self.filters, *self.groups}

    def forget_doubtful(self) -> Iterator[None]:
        """What it has not told again it has no more; a filter a step."""
        while self._doubtful:
            topic_filter = self._doubtful.pop()  # what it tells again meanwhile is not in doubt
            if topic_filter in self.groups:
                self.has_members(topic_filter, 0, 0)
                yield
            else:
                yield from self.unsubscribed((topic_filter,))


def is_elsewhere(session: Session) -> bool:
    """Whether it stands for a neighbour's."""
    return session.elsewhere is not None


def local_members(group: SharedGroup[Session]) -> tuple[int, int]:
    """How many of our own members are connected, and away."""
    connected = away = 0
    for session in group.members:
        if session.elsewhere is None:
            if session.connected:
                connected += 1
            else:
                away += 1
    return connected, away


def _nothing() -> None: ...
