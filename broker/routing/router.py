"""Finds the receivers of a topic. The result is cached until a subscription changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator, Set
from sys import getsizeof
from typing import Any, Generic, TypeVar

from .long_route import MANY, LongRoute, Matching, has_many_receivers
from .route import Change, Observer, Route, Target
from .shared import MayReceive, Member, Share, SharedGroup
from .subscription import Subscription
from .topics import has_wildcard, matches, split_share
from .trie import Trie

S = TypeVar("S", bound=Member)

MAX_ROUTES = 65_536
MAX_ROUTE_BYTES = 32 << 20
"""The approximate memory of all cached routes, in bytes. Beyond either bound all are forgotten."""
ROUTE_OVERHEAD, TARGET_OVERHEAD, CHANGE_OVERHEAD = 150, 250, 300
"""The approximate memory, in bytes, of a cached topic, of a receiver in a route, and of a noted change."""
FEW_ROUTES = 64
"""If there are at most this many routes, a new subscription with wildcards removes those that it changes. If
there are more, it removes all."""
MANY_SUBSCRIPTIONS = 64
"""A route of fewer subscriptions is made anew when one of them changes. A route of more is updated."""
FEW_CHANGES = 16
"""The number of changes that are noted for a route, and the number of such routes. With more changes a route
is made anew."""
MOST_AT_ONCE = 16_384
"""The largest number of subscriptions from which a route is made in one go, which takes about 20 ms. With
more, a long route is made in steps."""
FEW_LONG_ROUTES = 8
"""The number of long routes that are kept."""

NOBODY: Set[Any] = frozenset()


class UnansweredError(Exception):
    """It is not known yet whether some sessions may receive the topic. Wait for the answers, and ask
    again."""

    def __init__(self, answers: list[Awaitable[bool]]) -> None:
        super().__init__(f"{len(answers)} answers are not there yet")
        self.answers = answers


class ManyReceiversError(Exception):
    """The message has to be sent in turns, with :meth:`Router.long_route`."""


class Router(Generic[S]):
    """The subscriptions of all sessions, and the routes that follow from them."""

    def __init__(self, observers: Callable[[str], tuple[Observer, ...]] = lambda topic: ()) -> None:
        self._trie: Trie[Any, Any] = Trie()
        self._groups: dict[tuple[str, str], SharedGroup[S]] = {}
        self._observers = observers
        self.may_receive: MayReceive[S] | None = None
        """Set by :meth:`screen`."""
        self.routes: dict[str, Route[S]] = {}
        self._size = 0
        """The approximate memory of :attr:`routes`, in bytes."""
        self._outdated: dict[str, tuple[Route[S], list[Change[S]]]] = {}
        """Routes that were removed from :attr:`routes`, and the changes since then. If a topic has many
        subscriptions, updating its route costs less than making it anew."""
        self._same: dict[tuple[int, ...], Route[S]] = {}
        """Routes that several topics share, because the same filters match them, and no session is barred and
        nobody observes them. The key has the identities of the trie's entries for these filters."""
        self._long: dict[tuple[Any, ...], LongRoute[S]] = {}
        """The long routes, by the identities of the trie's entries for their filters."""
        self.changed: Callable[[S, str], None] | None = None
        """Called with each session and topic filter that is subscribed or unsubscribed."""
        self.elsewhere = 0
        """The number of subscriptions that stand for those of neighbours."""

    def __len__(self) -> int:
        """The number of subscriptions, without those of neighbours."""
        shared = sum(len(group.members) for group in self._groups.values())
        return len(self._trie) - len(self._groups) + shared - self.elsewhere

    def subscribe(self, session: S, subscription: Subscription) -> None:
        """Add the subscription, or replace the one with the same filter [MQTT-3.8.4-3]."""
        name, topic_filter = split_share(subscription.topic_filter)
        if name is None:
            if self._trie.set(topic_filter, session, subscription) != subscription:
                self._change_routes(topic_filter, (session, topic_filter, subscription))
        else:
            self._join(name, topic_filter, session, subscription)
        if self.changed is not None:
            self.changed(session, subscription.topic_filter)

    def _join(self, name: str, topic_filter: str, session: S, subscription: Subscription) -> None:
        group = self._groups.get((name, topic_filter))
        if group is None:
            group = self._groups[name, topic_filter] = SharedGroup(name, topic_filter, self.may_receive)
            self._trie.set(topic_filter, group, group)
        group.join(session, subscription)
        self._change_routes(topic_filter)

    def unsubscribe(self, session: S, topic_filter: str) -> bool:
        """Remove the subscription with exactly this filter [MQTT-3.10.4-1]; False if there was none."""
        name, plain = split_share(topic_filter)
        if name is None:
            removed = self._trie.remove(plain, session)
            if removed:
                self._change_routes(plain, (session, plain, None))
        else:
            removed = self._part(name, plain, session)
        if removed and self.changed is not None:
            self.changed(session, topic_filter)
        return removed

    def _part(self, name: str, topic_filter: str, session: S) -> bool:
        group = self._groups.get((name, topic_filter))
        if group is None or not group.leave(session):
            return False
        if not group.members:
            del self._groups[name, topic_filter]
            self._trie.remove(topic_filter, group)
        self._change_routes(topic_filter)
        return True

    def subscribers(self, topic_filter: str) -> int:
        """The number of sessions, neighbours included, that subscribe to exactly this filter. Not for shared
        subscriptions."""
        return len(self._trie.at(topic_filter))

    def is_wanted(self, topic: str) -> bool:
        """Whether anybody subscribes to ``topic`` or observes it. For topics that are used once, whose route
        is not worth keeping."""
        return bool(self._trie.match(topic)) or bool(self._observers(topic))

    def route(self, topic: str) -> Route[S]:
        """The route of ``topic``, cached. Raises UnansweredError while it is not known, and
        ManyReceiversError if the topic has a long route."""
        route = self.routes.get(topic)
        if route is None:
            route = self._made_good(topic) if self._outdated else None
            if route is None:
                matching, asked = self._trie.match(topic), self.may_receive
                if matching and self._are_many(matching):
                    raise ManyReceiversError(topic)
                barred = self._barred(matching, topic, asked) if asked is not None else NOBODY
                route = self._find(topic, matching, barred)
            size = ROUTE_OVERHEAD + getsizeof(topic)
            if len(self.routes) >= MAX_ROUTES or self._size + size > MAX_ROUTE_BYTES:
                self._forget_routes()
            self._size += size
            self.routes[topic] = route
        return route

    def has_long_route(self, topic: str) -> bool:
        """Whether :meth:`route` raises ManyReceiversError."""
        if topic in self.routes or topic in self._outdated:
            return False
        return self._are_many(self._trie.match(topic))

    def _are_many(self, matching: Matching) -> bool:
        return has_many_receivers(matching, MOST_AT_ONCE if self.may_receive is None else MANY)

    def long_route(self, topic: str) -> Generator[Awaitable[Any] | None, Any, LongRoute[S]]:
        """The route of ``topic`` in parts. It is made in steps, and kept until a subscription changes."""
        matching = self._trie.match(topic)
        filters = tuple(map(id, matching))
        key = filters if self.may_receive is None else (topic, *filters)
        route = self._long.pop(key, None)
        if route is None or not route.is_made:
            route = self._long[key] = LongRoute(topic, matching)
            yield from route.make(self.may_receive)
            if not self.is_current(route):
                return route
        self._long[key] = route
        while len(self._long) > 1 and self._too_long():
            del self._long[next(iter(self._long))]
        return route

    def _too_long(self) -> bool:
        """Whether the long routes are too many, or take too much memory."""
        size = TARGET_OVERHEAD * sum(route.size for route in self._long.values())
        return len(self._long) > FEW_LONG_ROUTES or size > MAX_ROUTE_BYTES

    def is_current(self, route: LongRoute[S]) -> bool:
        """Whether no subscription has changed since ``route`` was made."""
        return any(kept is route for kept in self._long.values())

    def observers(self, topic: str) -> tuple[Observer, ...]:
        """The observers of the topic, for topics without a cached route."""
        return self._observers(topic)

    def still(self, part: Route[S]) -> Route[S]:
        """The part of a long route with the subscriptions of now [MQTT-3.10.4-2]."""
        targets: list[Target[S]] = []
        for target in part.targets:
            those: list[Subscription] = []
            for before in target.subscriptions:
                now = self._trie.get(before.topic_filter, target.session)
                if now is not None:
                    those.append(now)
            if those:
                targets.append(Target(target.session, those))
        return Route(tuple(targets), (), ())

    def screen(self, may_receive: MayReceive[S] | None) -> None:
        """Leave the sessions that may not receive a topic out of its route. ``may_receive`` is called when a
        route is made. It must answer at once what it has answered before. Call this method again when answers
        change."""
        self.may_receive = may_receive
        for group in self._groups.values():
            group.may_receive = may_receive
        self.forget_all_routes()

    def _barred(self, matching: Matching, topic: str, may_receive: MayReceive[S]) -> Set[S]:
        """The sessions that subscribe to ``topic`` and may not receive it."""
        sessions: dict[S, None] = {}
        for found in matching:
            for key, value in found.items():
                sessions.update(dict.fromkeys(value.members if isinstance(value, SharedGroup) else (key,)))
        barred: set[S] = set()
        unanswered: list[Awaitable[bool]] = []
        for session in sessions:
            answer = may_receive(session, topic)
            if not isinstance(answer, bool):
                unanswered.append(answer)
            elif not answer:
                barred.add(session)
        if unanswered:
            raise UnansweredError(unanswered)
        return barred

    def group(self, topic_filter: str) -> SharedGroup[S] | None:
        """The group of a ``$share/GROUP/...`` filter, or None."""
        name, rest = split_share(topic_filter)
        return self._groups.get((name, rest)) if name is not None else None

    def subscribed(self, topic: str) -> Iterator[S]:
        """The sessions that have subscribed to ``topic``, not counting shared subscriptions; some may come
        several times."""
        for found in self._trie.match(topic):
            yield from (one for one in found if not isinstance(one, SharedGroup))

    def forget_all_routes(self) -> None:
        """To be called when the observers change."""
        self._forget_routes()
        self._long.clear()

    def _forget_routes(self) -> None:
        """Forget all routes but the long ones."""
        self.routes.clear()
        self._outdated.clear()
        self._same.clear()
        self._size = 0

    def _find(self, topic: str, matching: Matching, barred: Set[S]) -> Route[S]:
        observers = self._observers(topic)
        shared = not barred and not observers
        same = tuple([id(one) for one in matching]) if shared and matching else ()
        route = self._same.get(same) if shared else None
        if route is None:
            route = self._make(matching, barred, observers)
            if shared:
                self._same[same] = route
            self._size += TARGET_OVERHEAD * (len(route.targets) + len(route.groups)) + 8 * len(same)
        return route

    def _make(self, matching: Matching, barred: Set[S], observers: tuple[Observer, ...]) -> Route[S]:
        subscriptions: dict[S, list[Subscription]] = {}
        groups: list[Share[S]] = []
        for found in matching:
            for key, value in found.items():
                if isinstance(value, SharedGroup):
                    if (share := value.share(barred)).members:
                        groups.append(share)
                elif key not in barred:
                    those = subscriptions.get(key)
                    if those is None:
                        subscriptions[key] = [value]
                    else:
                        those.append(value)
        targets = tuple(Target(session, those) for session, those in subscriptions.items())
        return Route(targets, tuple(groups), observers)

    def _made_good(self, topic: str) -> Route[S] | None:
        """The topic's last route with the changes since then; None if it is not known."""
        outdated = self._outdated.pop(topic, None)
        if outdated is None:
            return None
        route = outdated[0].after(outdated[1])
        self._size += TARGET_OVERHEAD * len(outdated[1]) + 8 * len(route.targets)
        return route

    def _change_routes(self, topic_filter: str, change: Change[S] | None = None) -> None:
        """Remove the routes of all topics that ``topic_filter`` matches. With ``change`` they can be updated
        later."""
        self._same.clear()
        for key in [key for key, route in self._long.items() if matches(topic_filter, route.topic)]:
            del self._long[key]
        if not has_wildcard(topic_filter):
            self._outdate(topic_filter, change)
        elif len(self.routes) + len(self._outdated) > FEW_ROUTES:
            self._forget_routes()
        else:
            for topic in [*self.routes, *self._outdated]:
                if matches(topic_filter, topic):
                    self._outdate(topic, change)

    def _outdate(self, topic: str, change: Change[S] | None) -> None:
        route = self.routes.pop(topic, None)
        if change is None or self.may_receive is not None:  # who is barred is asked anew
            self._outdated.pop(topic, None)
            return
        if route is not None:
            if sum(len(target.subscriptions) for target in route.targets) < MANY_SUBSCRIPTIONS:
                return
            if len(self._outdated) >= FEW_CHANGES:
                del self._outdated[next(iter(self._outdated))]
            self._outdated[topic] = route, [change]
        elif (outdated := self._outdated.get(topic)) is None:
            return
        elif len(outdated[1]) < FEW_CHANGES:
            outdated[1].append(change)
        else:
            del self._outdated[topic]
            return
        self._size += CHANGE_OVERHEAD + getsizeof(change[1])
        if self._size > MAX_ROUTE_BYTES:
            self._forget_routes()
