"""The interface of a method of enhanced authentication: it judges the client's data and returns the next
step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ..packets.model import Auth
from ..packets.reasons import ReasonCode
from .access import Credentials


@dataclass(frozen=True, slots=True)
class Challenge:
    """The exchange continues: ``data`` goes to the client in an AUTH."""

    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The client is authenticated."""

    data: bytes | None = None
    """The server's last data, sent with CONNACK or AUTH."""
    username: str | None = None
    """The user name; None: that of CONNECT."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The client is refused, or disconnected."""

    reason: ReasonCode = ReasonCode.NOT_AUTHORIZED
    text: str = "authentication failed"


Outcome: TypeAlias = Challenge | Accepted | Rejected


class Exchange(Protocol):
    """One authentication of one client."""

    def step(self, data: bytes | None) -> Outcome | Awaitable[Outcome]:
        """The next step after the client's authentication data, which is None if the client sent none."""


Method: TypeAlias = Callable[[Credentials], Exchange]
"""Begins an exchange with a client with these credentials."""


class Conversation(Protocol):
    """The authentication on one connection, as the connection sees it."""

    name: str
    """The name of the method in CONNECT."""

    def received(self, channel: Any, packet: Auth) -> None:
        """Handle an AUTH from the client. Raises ProtocolError if it is not expected or has another
        method."""
