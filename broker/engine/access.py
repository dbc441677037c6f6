"""Who may connect, and who may do what: a chain of those who have a say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from inspect import isawaitable
from typing import Any

from ..events import Client
from ..packets.reasons import ReasonCode


class Action(StrEnum):
    """What access is asked for."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client shows at CONNECT."""

    client: Client
    password: bytes | None = None
    certificate: Mapping[str, Any] | None = None
    """The client's certificate as ``ssl.SSLSocket.getpeercert`` gives it."""


Authenticator = Callable[[Credentials], ReasonCode | Awaitable[ReasonCode | None] | None]
"""SUCCESS lets the client in, another reason refuses it, None has no opinion."""

Authorizer = Callable[[Client, str, Action], bool | Awaitable[bool | None] | None]
"""True allows, False denies, None has no opinion."""


class AccessControl:
    """Asks each in turn. The first refusal decides; otherwise one consent is enough."""

    def __init__(self) -> None:
        self.authenticators: tuple[Authenticator, ...] = ()
        self.authorizers: tuple[Authorizer, ...] = ()
        self.no_match = True
        """What is said of a topic on which no authorizer has an opinion."""
        self.deny_disconnects = False
        """Whether a client that publishes what it may not is sent away."""

    @property
    def checks_topics(self) -> bool:
        """Whether any topic can be denied at all."""
        return bool(self.authorizers) or not self.no_match

    def authenticate(self, credentials: Credentials) -> ReasonCode | Awaitable[ReasonCode]:
        """SUCCESS, or why the client is refused. Where nobody is asked, everybody may come in; where
        nobody has an opinion, nobody may."""
        opinions: list[ReasonCode | None] = []
        for authenticator in self.authenticators:
            opinion = authenticator(credentials)
            if isawaitable(opinion):
                return self._authenticate_later(credentials, opinion, opinions)
            opinions.append(opinion)
            if opinion:
                break
        return self._verdict(opinions)

    def authorize(self, client: Client, topic: str, action: Action) -> bool | Awaitable[bool]:
        """Whether ``client`` may publish to the topic name, or subscribe to the topic filter."""
        allowed: bool | None = None
        for position, authorizer in enumerate(self.authorizers):
            opinion = authorizer(client, topic, action)
            if isawaitable(opinion):
                return self._authorize_later(client, topic, action, opinion, position, allowed)
            if opinion is False:
                return False
            allowed = opinion if opinion is not None else allowed
        return self.no_match if allowed is None else allowed

    async def _authenticate_later(
        self,
        credentials: Credentials,
        first: Awaitable[ReasonCode | None],
        opinions: list[ReasonCode | None],
    ) -> ReasonCode:
        opinions.append(await first)
        for authenticator in self.authenticators[len(opinions) :]:
            if opinions[-1]:
                break
            opinion = authenticator(credentials)
            opinions.append(await opinion if isawaitable(opinion) else opinion)
        return self._verdict(opinions)

    def _verdict(self, opinions: list[ReasonCode | None]) -> ReasonCode:
        if opinions and opinions[-1]:  # the chain stops at the first refusal
            return opinions[-1]
        if ReasonCode.SUCCESS in opinions or not self.authenticators:
            return ReasonCode.SUCCESS
        return ReasonCode.NOT_AUTHORIZED

    async def _authorize_later(
        self,
        client: Client,
        topic: str,
        action: Action,
        first: Awaitable[bool | None],
        position: int,
        allowed: bool | None,
    ) -> bool:
        opinion = await first
        for authorizer in (*self.authorizers[position + 1 :], None):
            if opinion is False:
                return False
            allowed = opinion if opinion is not None else allowed
            if authorizer is not None:
                answer = authorizer(client, topic, action)
                opinion = await answer if isawaitable(answer) else answer
        return self.no_match if allowed is None else allowed
