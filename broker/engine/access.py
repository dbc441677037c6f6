"""Access control: the chain of authenticators and authorizers, which decide who may connect and who may do
what."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from inspect import isawaitable
from typing import Any

from ..events import Client
from ..packets.reasons import ReasonCode

log = logging.getLogger("pybroker.access")


class Action(StrEnum):
    """The action that a client needs permission for."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    RECEIVE = "receive"
    """Be sent a message of a topic; only asked where ``Router.may_receive`` is set."""


@dataclass(slots=True)
class Credentials:
    """The credentials that a client sends with CONNECT."""

    client: Client
    password: bytes | None = None
    certificate: Mapping[str, Any] | None = None
    """The client's certificate, as returned by ``ssl.SSLSocket.getpeercert``."""
    tls: Any = field(default=None, repr=False)
    """The connection's ``ssl.SSLObject``; None without TLS."""
    proven: bool = False
    """Whether a certificate or a token has proven the user name. No password is asked for then."""
    superuser: bool = False
    """Set by an authenticator: the client, if it is accepted, may do everything."""


class UnavailableError(Exception):
    """An authenticator or authorizer cannot decide now, and raises this. The client's request is refused, and
    the next request asks again."""


Authenticator = Callable[[Credentials], ReasonCode | Awaitable[ReasonCode | None] | None]
"""SUCCESS accepts the client, another reason refuses it, None has no opinion."""

Authorizer = Callable[[Client, str, Action], bool | Awaitable[bool | None] | None]
"""True allows, False denies, None has no opinion."""


class AccessControl:
    """Asks each authenticator or authorizer in turn. The first refusal decides; otherwise one consent is
    enough.

    If one of them fails, the client is refused.
    """

    def __init__(self) -> None:
        self.authenticators: tuple[Authenticator, ...] = ()
        self.authorizers: tuple[Authorizer, ...] = ()
        self.no_match = True
        """The answer for a topic on which no authorizer has an opinion."""
        self.deny_disconnects = False
        """Whether a client that publishes without permission is disconnected."""
        self.max_remembered = 1024
        """The number of topics for which a client's answers are kept."""
        self.generation = 0
        """Increases when the rules change; earlier answers are then void."""

    @property
    def checks_topics(self) -> bool:
        """Whether any topic can be denied at all."""
        return bool(self.authorizers) or not self.no_match

    def authenticate(self, credentials: Credentials) -> ReasonCode | Awaitable[ReasonCode]:
        """SUCCESS, or the reason for refusing the client. Without any authenticator every client is accepted;
        if none has an opinion, the client is refused."""
        consent = credentials.proven or not self.authenticators
        rest = iter(self.authenticators)
        try:
            for authenticator in rest:
                opinion = authenticator(credentials)
                if opinion is not None and not isinstance(opinion, int):
                    return self._authenticate_later(credentials, opinion, rest, consent)
                if opinion:
                    return opinion
                consent = consent or opinion is not None
        except Exception as error:
            return _cannot_authenticate(credentials.client, error)
        return ReasonCode.SUCCESS if consent else ReasonCode.NOT_AUTHORIZED

    def authorize(self, client: Client, topic: str, action: Action) -> bool | Awaitable[bool | None] | None:
        """Whether ``client`` may publish to the topic name, or subscribe to the topic filter. None is a
        refusal that is not to be remembered."""
        allowed: bool | None = None
        rest = iter(self.authorizers)
        try:
            for authorizer in rest:
                opinion = authorizer(client, topic, action)
                if opinion is not None and not isinstance(opinion, bool):
                    return self._authorize_later(client, topic, action, opinion, rest, allowed)
                if opinion is False:
                    return False
                allowed = opinion or allowed
        except Exception as error:
            _log_failure(client, topic, action, error)
            return None
        return self.no_match if allowed is None else allowed

    async def _authenticate_later(
        self,
        credentials: Credentials,
        first: Awaitable[ReasonCode | None],
        rest: Iterator[Authenticator],
        consent: bool,
    ) -> ReasonCode:
        try:
            opinion = await first
            for authenticator in (*rest, None):
                if opinion:
                    return opinion
                consent = consent or opinion is not None
                if authenticator is not None:
                    answer = authenticator(credentials)
                    opinion = await answer if isawaitable(answer) else answer
        except Exception as error:
            return _cannot_authenticate(credentials.client, error)
        return ReasonCode.SUCCESS if consent else ReasonCode.NOT_AUTHORIZED

    async def _authorize_later(
        self,
        client: Client,
        topic: str,
        action: Action,
        first: Awaitable[bool | None],
        rest: Iterator[Authorizer],
        allowed: bool | None,
    ) -> bool | None:
        try:
            opinion = await first
            for authorizer in (*rest, None):
                if opinion is False:
                    return False
                allowed = opinion or allowed
                if authorizer is not None:
                    answer = authorizer(client, topic, action)
                    opinion = await answer if isawaitable(answer) else answer
        except Exception as error:
            _log_failure(client, topic, action, error)
            return None
        return self.no_match if allowed is None else allowed


def _cannot_authenticate(client: Client, error: Exception) -> ReasonCode:
    if isinstance(error, UnavailableError):
        return ReasonCode.SERVER_UNAVAILABLE
    log.error("client %s is refused: an authenticator failed", client.client_id, exc_info=error)
    return ReasonCode.UNSPECIFIED_ERROR


def _log_failure(client: Client, topic: str, action: Action, error: Exception) -> None:
    if not isinstance(error, UnavailableError):
        log.error(
            "client %s may not %s to %s: an authorizer failed",
            client.client_id,
            action,
            topic,
            exc_info=error,
        )
