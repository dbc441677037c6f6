"""The interface for a session whose state is also kept elsewhere: on disk, or by another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..routing.subscription import Subscription
from .inflight import Outgoing
from .stretch import Stretch

if TYPE_CHECKING:
    from .session import Session


Left: TypeAlias = Callable[[Outgoing], None]
"""Handles a message whose session has ended."""


class Keeper(Protocol):
    """Notified of each change of one session, before any packet that follows from it is written.

    A session without a keeper costs a truth test for each change.
    """

    def changed(self, session: Session) -> None:
        """The client, the will, or the expiry has changed."""

    def ended(self) -> None:
        """The session has ended, with all its messages."""

    def ended_behind(self, session: Session, left: Left) -> None:
        """The session has ended. Later, pass each message that ``session.queue`` has left to the keeper to
        ``left``, and forget the other messages."""

    def subscribed(self, subscription: Subscription, *, owes: bool = False) -> None:
        """``owes``: its retained messages have not been sent yet. Called again, without it, when they have
        been sent."""

    def unsubscribed(self, topic_filter: str) -> None: ...
    def queued(self, message: Outgoing) -> None:
        """A message of QoS 1 or 2 was queued."""

    def queued_all(self, stretch: Stretch) -> None:
        """The same for messages that are nowhere else."""

    def fetch(self, session: Session) -> None:
        """Load the next messages that ``session.queue`` has left to the keeper, and pump then. This happens
        later."""

    def sent(self, message: Outgoing, packet_id: int) -> None:
        """A message of QoS 1 or 2 is in flight; it may have been queued before."""

    def sent_all(self, stretch: Stretch, messages: list[Outgoing], packet_id: int) -> None:
        """The same for ``messages`` of ``stretch``, with identifiers from ``packet_id`` on."""

    def released(self, message: Outgoing) -> None:
        """PUBREC was received."""

    def done(self, messages: list[Outgoing]) -> None:
        """The messages are acknowledged or dropped."""

    def received(self, packet_id: int) -> None:
        """A message of QoS 2 was received from the client."""

    def forgot(self, packet_id: int) -> None:
        """PUBREL was received for it."""


class Storage(Protocol):
    """Stores sessions; the engine has one or none."""

    full: bool
    """Whether nothing more can be stored now."""

    def bound(self, session: Session) -> None:
        """A client has connected, or the session was made for a client that is away. Sets ``session.keeper``
        if the session outlives its connection."""
