"""Authentication by a conversation: CONNECT, AUTH and re-authentication (MQTT 5.0 section 4.12).

A method is registered under its name, ``engine.auth_methods["SCRAM-SHA-256"] = ScramSha256(...)``. Each
authentication makes one exchange of it, which is handed what the client says and returns what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING

from ..packets.errors import ProtocolError
from ..packets.model import Auth
from ..packets.properties import Properties
from ..packets.reasons import ReasonCode
from .access import Credentials
from .auth_method import Accepted, Challenge, Exchange, Method, Outcome, Rejected

if TYPE_CHECKING:
    from .channel import Channel
    from .engine import Engine


class Authentication:
    """The conversation on one connection: the method CONNECT named, and the exchange under way."""

    __slots__ = ("_admit", "_exchange", "_method", "_refuse", "credentials", "name")

    def __init__(
        self,
        name: str,
        method: Method,
        credentials: Credentials,
        admit: Callable[[Accepted], None],
        refuse: Callable[[ReasonCode, str], None],
    ) -> None:
        self.name = name
        self.credentials = credentials
        self._method = method
        self._exchange: Exchange | None = None
        self._admit = admit
        self._refuse = refuse

    def begin(self, channel: Channel, data: bytes | None) -> None:
        """Begin an exchange, for CONNECT or for an AUTH that asks to re-authenticate."""
        self._exchange = self._method(self.credentials)
        self._step(channel, data)

    def received(self, channel: Channel, packet: Auth) -> None:
        """Handle an AUTH from the client. Raises ProtocolError if it is not expected or has another
        method."""
        properties = packet.properties or Properties()
        if properties.authentication_method != self.name:  # [MQTT-4.12.0-5] [MQTT-4.12.1-1]
            raise ProtocolError(f"AUTH does not have the method of CONNECT, {self.name}")
        if packet.reason == ReasonCode.CONTINUE_AUTHENTICATION and self._exchange is not None:
            self._step(channel, properties.authentication_data)
        elif packet.reason == ReasonCode.RE_AUTHENTICATE and channel.connection.established:
            self.begin(channel, properties.authentication_data)
        else:
            raise ProtocolError(f"AUTH is not expected here with reason 0x{packet.reason:02x}")

    def _step(self, channel: Channel, data: bytes | None) -> None:
        assert self._exchange is not None
        outcome = self._exchange.step(data)
        if isawaitable(outcome):
            channel.suspend(outcome, partial(self._follow, channel))
        else:
            self._follow(channel, outcome)

    def _follow(self, channel: Channel, outcome: Outcome) -> None:
        if isinstance(outcome, Challenge):
            self._say(channel, ReasonCode.CONTINUE_AUTHENTICATION, outcome.data)  # [MQTT-4.12.0-2]
            return
        self._exchange = None
        if not channel.connection.established:
            if isinstance(outcome, Accepted):
                self._admit(outcome)
            else:
                self._refuse(outcome.reason, outcome.text)  # [MQTT-4.12.0-4]
        elif isinstance(outcome, Rejected):
            channel.close(ReasonCode.NOT_AUTHORIZED, text=outcome.text)  # [MQTT-4.12.1-2]
        elif outcome.username not in (None, self.credentials.client.username):
            channel.close(ReasonCode.NOT_AUTHORIZED, text="re-authentication as another user")
        else:
            self._say(channel, ReasonCode.SUCCESS, outcome.data)

    def _say(self, channel: Channel, reason: ReasonCode, data: bytes | None) -> None:
        properties = Properties(authentication_method=self.name, authentication_data=data)
        channel.send(channel.connection.fitting(Auth(reason, properties)))


def known_as(credentials: Credentials, username: str | None) -> Credentials:
    """The credentials of a client whose user name is known from the exchange."""
    if username is None:
        return credentials
    return replace(credentials, client=replace(credentials.client, username=username))


def auth(engine: Engine, channel: Channel, packet: Auth) -> None:
    """AUTH from a client that named a method in CONNECT; the connection lets no other through."""
    assert channel.authentication is not None
    channel.authentication.received(channel, packet)
