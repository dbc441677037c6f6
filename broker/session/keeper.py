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
"""What becomes of a message whose session has ended."""


class Keeper(Protocol):
    """Told of each change of one session, before any packet that follows from it is written.

    A session without one costs a truth test for each of these."""

    def changed(self, session: Session) -> None:
        """The client, the will, or the expiry has changed."""

    def ended(self) -> None:
        """The session has ended, with everything in it."""

    def ended_behind(self, session: Session, left: Left) -> None:
        """The session has ended. Later, hand to ``left`` each message that ``session.queue`` has left to the
        keeper; forget the others."""

    def subscribed(self, subscription: Subscription, *, owes: bool = False) -> None:
        """``owes``: what is retained for it has not been sent yet; told again once it has."""

    def unsubscribed(self, topic_filter: str) -> None: ...
    def queued(self, message: Outgoing) -> None:
        """A message of QoS 1 or 2 was queued."""

    def queued_all(self, stretch: Stretch) -> None:
        """The same for messages that only this keeper has."""

    def fetch(self, session: Session) -> None:
        """Later, load the next messages that ``session.queue`` has left to the keeper, and pump then."""

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
        """A client has connected, or the session was made for one that is away. Sets ``session.keeper`` if
        the session outlives its connection."""
