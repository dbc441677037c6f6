"""Shared subscriptions: each message goes to one member of the group (MQTT 5.0 section 4.8.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Set
from typing import Generic, Protocol, TypeVar

from .subscription import Subscription


class Member(Protocol):
    """The part of a session that a group reads."""

    @property
    def connected(self) -> bool: ...


S = TypeVar("S", bound=Member)
MayReceive = Callable[[S, str], bool | Awaitable[bool]]
"""Whether a session may receive messages of a topic. If the answer is awaitable, it is asked again later."""


class SharedGroup(Generic[S]):
    """The members of one share name and topic filter, which take turns."""

    __slots__ = ("_everyone", "may_receive", "members", "name", "topic_filter", "turn")

    def __init__(self, name: str, topic_filter: str, may_receive: MayReceive[S] | None = None) -> None:
        self.name = name
        self.topic_filter = topic_filter
        self.members: dict[S, Subscription] = {}
        self.may_receive = may_receive
        self.turn = 0
        """The index at which the next search for a member begins."""
        self._everyone: Share[S] | None = None

    def join(self, session: S, subscription: Subscription) -> None:
        """Make ``session`` a member, or change its subscription."""
        self.members[session] = subscription
        self._everyone = None

    def leave(self, session: S) -> bool:
        """Remove the session; False if it is no member."""
        self._everyone = None
        return self.members.pop(session, None) is not None

    def share(self, barred: Set[S] = frozenset()) -> Share[S]:
        """The members without those in ``barred``, until a member joins or leaves."""
        if barred and not barred.isdisjoint(self.members):
            return Share(self, [member for member in self.members.items() if member[0] not in barred])
        if self._everyone is None:
            self._everyone = Share(self, list(self.members.items()))
        return self._everyone

    def share_of(self, topic: str) -> Share[S]:
        """The members of which it is known that they may receive ``topic``."""
        may_receive = self.may_receive
        if may_receive is None:
            return self.share()
        return self.share({session for session in self.members if may_receive(session, topic) is not True})


class Share(Generic[S]):
    """The members of a group for one topic. It is kept in the topic's route, so that nothing has to be asked
    for each message."""

    __slots__ = ("group", "members")

    def __init__(self, group: SharedGroup[S], members: list[tuple[S, Subscription]]) -> None:
        self.group = group
        self.members = members

    def pick(self, qos: int, besides: S | None = None) -> tuple[S, Subscription] | None:
        """The member whose turn it is: a connected one if there is any, else one whose session can keep a
        message of this QoS. ``besides`` is left out: the member from which a message comes back."""
        members = self.members
        first = self.group.turn
        offline: tuple[S, Subscription] | None = None
        for step in range(len(members)):
            index = (first + step) % len(members)
            session, subscription = members[index]
            if session is besides:
                continue
            if session.connected:
                self.group.turn = index + 1
                return session, subscription
            if offline is None and qos and subscription.qos:
                offline = session, subscription
                turn = index + 1
        if offline is not None:
            self.group.turn = turn
        return offline
