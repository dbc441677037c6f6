"""Shared subscriptions: each message goes to one member of the group (MQTT 5.0 section 4.8.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from .subscription import Subscription


class Member(Protocol):
    """What a group must know of a session."""

    @property
    def connected(self) -> bool: ...


S = TypeVar("S", bound=Member)
MayReceive = Callable[[S, str], bool | Awaitable[bool]]
"""Whether a session may be sent messages of a topic; an answer that takes its time is asked for again."""


class SharedGroup(Generic[S]):
    """The members of one share name and topic filter, asked in turn."""

    __slots__ = ("_turn", "may_receive", "members", "name", "topic_filter")

    def __init__(self, name: str, topic_filter: str, may_receive: MayReceive[S] | None = None) -> None:
        self.name = name
        self.topic_filter = topic_filter
        self.members: dict[S, Subscription] = {}
        self.may_receive = may_receive
        self._turn = 0

    def pick(self, topic: str, qos: int, besides: S | None = None) -> tuple[S, Subscription] | None:
        """The member whose turn it is: a connected one if there is any, else one whose session can keep
        a message of this QoS. ``besides`` is left out: the one a message comes back from."""
        members = list(self.members.items())
        if (may_receive := self.may_receive) is not None:
            members = [member for member in members if may_receive(member[0], topic) is True]
        offline: tuple[S, Subscription] | None = None
        for step in range(len(members)):
            index = (self._turn + step) % len(members)
            session, subscription = members[index]
            if session is besides:
                continue
            if session.connected:
                self._turn = index + 1
                return session, subscription
            if offline is None and qos and subscription.qos:
                offline = session, subscription
                turn = index + 1
        if offline is not None:
            self._turn = turn
        return offline
