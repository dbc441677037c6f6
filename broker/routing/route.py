"""A route: the sessions that receive the messages of a topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .shared import Member, Share
from .subscription import Subscription

S = TypeVar("S", bound=Member)
Observer = Callable[[Any], None]
Change = tuple[S, str, Subscription | None]
"""A session, a topic filter, and the subscription that the session has with it now; None if that has
ended."""


class Target(Generic[S]):
    """A session that gets one copy, however many of its subscriptions match [MQTT-3.3.4-2]."""

    __slots__ = ("identifiers", "no_local", "qos", "retain_as_published", "session", "subscriptions")

    def __init__(self, session: S, subscriptions: list[Subscription]) -> None:
        self.session = session
        self.subscriptions = subscriptions
        self.qos = 0
        self.retain_as_published = False
        self.no_local = False
        """Whether some of the subscriptions exclude messages of the session itself."""
        identifiers: list[int] = []
        for subscription in subscriptions:
            if subscription.qos > self.qos:
                self.qos = subscription.qos  # [MQTT-3.3.4-2]
            if subscription.retain_as_published:
                self.retain_as_published = True
            if subscription.no_local:
                self.no_local = True
            if subscription.identifier:
                identifiers.append(subscription.identifier)  # [MQTT-3.3.4-4]
        self.identifiers = tuple(identifiers)

    def without_no_local(self) -> Target[S] | None:
        """The target without these subscriptions, for messages of the session itself; None if none is
        left."""
        others = [s for s in self.subscriptions if not s.no_local]
        return Target(self.session, others) if others else None


class Route(Generic[S]):
    """The receivers and observers of a topic."""

    __slots__ = ("groups", "local", "observers", "plans", "targets")

    def __init__(
        self,
        targets: tuple[Target[S], ...],
        groups: tuple[Share[S], ...],
        observers: tuple[Observer, ...],
    ) -> None:
        self.targets = targets
        self.groups = groups
        self.observers = observers
        self.plans: dict[int, Any] = {}
        """Plans of the delivery, one for each shape of message. They end with the route."""
        self.local: Route[S] | None = None
        """The same route without neighbours, for messages that come from neighbours."""

    def after(self, changes: list[Change[S]]) -> Route[S]:
        """The route after subscriptions were added, replaced or ended."""
        targets = {target.session: target for target in self.targets}
        for session, topic_filter, subscription in changes:
            target = targets.pop(session, None)
            those = [s for s in target.subscriptions if s.topic_filter != topic_filter] if target else []
            if subscription is not None:
                those.append(subscription)
            if those:
                targets[session] = Target(session, those)
        return Route(tuple(targets.values()), self.groups, self.observers)
