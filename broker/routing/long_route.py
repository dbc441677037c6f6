"""A route to very many receivers, in parts, so that a message can be sent to it in turns."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Iterable, Sequence, Set
from itertools import islice
from typing import Any, Generic, TypeVar

from .route import Route, Target
from .shared import MayReceive, Member, Share, SharedGroup
from .subscription import Subscription

S = TypeVar("S", bound=Member)
Matching = list[dict[Any, Any]]
"""For each topic filter that matches a topic: its sessions and shared groups, with their subscriptions."""

MANY = 1000
"""A topic with more receivers has a long route."""
PART = 250
"""The receivers of one part: a few milliseconds of work for one message."""
STEP = 4000
"""The number of subscriptions that are read in one step."""


class LongRoute(Generic[S]):
    """The receivers of a topic, as routes to a few of them each. :meth:`make` fills it."""

    __slots__ = ("groups", "is_made", "matching", "parts", "size", "topic")

    def __init__(self, topic: str, matching: Matching) -> None:
        self.topic = topic
        """The topic for which it was made first; the others have the same filters."""
        self.matching = matching
        """Kept, so that no other objects get the identities of these."""
        self.parts: list[Route[S]] = []
        self.groups: tuple[Share[S], ...] = ()
        self.size = sum(map(len, matching))
        """How many subscriptions it is made of."""
        self.is_made = False

    def make(self, may_receive: MayReceive[S] | None) -> Generator[Awaitable[Any] | None, Any, None]:
        """Make the parts, one step at a time."""
        subscriptions: dict[S, list[Subscription]] = {}
        groups: list[SharedGroup[S]] = []
        for found in self.matching:
            for some in _batches(list(found.items()), STEP):
                for key, value in some:
                    if isinstance(value, SharedGroup):
                        groups.append(value)
                    elif (those := subscriptions.get(key)) is not None:
                        those.append(value)
                    else:
                        subscriptions[key] = [value]
                yield None
        shares: list[Share[S]] = []
        for group in groups:
            barred = yield from _barred(group.members, self.topic, may_receive)
            shares.append(group.share(barred))
        self.groups = tuple(shares)
        left = iter(subscriptions.items())
        while some_left := dict(islice(left, PART)):
            barred = yield from _barred(some_left, self.topic, may_receive)
            targets = [Target(key, those) for key, those in some_left.items() if key not in barred]
            self.parts.append(Route(tuple(targets), (), ()))
        self.is_made = True


def _barred(
    sessions: Iterable[S], topic: str, may_receive: MayReceive[S] | None
) -> Generator[Awaitable[Any] | None, Any, Set[S]]:
    """The sessions that may not receive the topic."""
    barred: set[S] = set()
    if may_receive is not None:
        for some in _batches(list(sessions), PART):
            for session in some:
                allowed = may_receive(session, topic)
                if not isinstance(allowed, bool):
                    allowed = bool((yield allowed))
                if not allowed:
                    barred.add(session)
            yield None
    else:
        yield None
    return barred


def has_many_receivers(matching: Matching, most_subscriptions: int) -> bool:
    """Whether the filters have so many receivers, or subscriptions, that they need a long route."""
    subscriptions = sum(map(len, matching))
    if subscriptions <= MANY:
        return False
    if subscriptions > most_subscriptions or max(map(len, matching)) > MANY:
        return True
    return len(set[Any]().union(*matching)) > MANY


def _batches(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
