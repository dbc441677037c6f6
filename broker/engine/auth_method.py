"""What a method of enhanced authentication is: it judges what a client says, and says what follows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ..packets.model import Auth
from ..packets.reasons import ReasonCode
from .access import Credentials


@dataclass(frozen=True, slots=True)
class Challenge:
    """The client must say more: ``data`` goes to it in an AUTH."""

    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The client is who it says it is."""

    data: bytes | None = None
    """The server's last words, sent with CONNACK or AUTH."""
    username: str | None = None
    """Who it is; None: as CONNECT said."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The client is not let in, or sent away."""

    reason: ReasonCode = ReasonCode.NOT_AUTHORIZED
    text: str = "authentication failed"


Outcome: TypeAlias = Challenge | Accepted | Rejected


class Exchange(Protocol):
    """One authentication of one client."""

    def step(self, data: bytes | None) -> Outcome | Awaitable[Outcome]:
        """What follows from the client's authentication data, None where it sent none."""


Method: TypeAlias = Callable[[Credentials], Exchange]
"""Begins an exchange with a client that shows these credentials."""


class Conversation(Protocol):
    """An authentication on one connection, as the connection knows it."""

    name: str
    """The method's, as CONNECT named it."""

    def received(self, channel: Any, packet: Auth) -> None:
        """An AUTH from the client. Raises ProtocolError where it is not its time or has another method."""
