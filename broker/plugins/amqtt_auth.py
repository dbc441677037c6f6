"""Adapts amqtt's authentication plugins to access control, and our own plugin for `auth.password`."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hmac import compare_digest

from amqtt.contexts import BaseContext
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session
from pwdlib.hashers.argon2 import Argon2Hasher

from ..engine.access import Credentials, UnavailableError
from ..packets.reasons import ReasonCode
from .amqtt_views import SessionView, SessionViews
from .password_checks import PasswordChecks
from .step import step

AT_ONCE = frozenset({"amqtt.plugins.authentication", __name__})
"""Modules whose plugins answer at once, or wait without asking for the running task: they need no task."""

MAX_REMEMBERED = 65_536
"""How many correct passwords are remembered. When there are more, all are forgotten."""

log = logging.getLogger("pybroker.plugins")


class PasswordAuthPlugin(BaseAuthPlugin):
    """Compares user name and password with a fixed list: plain passwords, or argon2 hashes.

    It has no opinion about a client without a user name, or if the list is empty. A check against a hash is
    slow by design. So a correct password is remembered, and the other checks are made by `PasswordChecks`, so
    that clients that guess neither delay the others nor use all processors.
    """

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._hasher = Argon2Hasher()
        self._checks = PasswordChecks(max(1, (os.cpu_count() or 1) // 2))
        self._secret = secrets.token_bytes(16)
        self._right: set[bytes] = set()
        self._passwords: dict[str, bytes] = {}
        self._stand_in = b""
        self.replace(self.config.passwords)

    def replace(self, passwords: Mapping[str, str]) -> None:
        """Use this list from now on. Raises ValueError with the user whose hash cannot be read."""
        check_passwords(passwords)
        encoded = {user: password.encode() for user, password in passwords.items()}
        self._passwords = encoded
        self._right.clear()
        # Compared with where the user is unknown, so that the time an answer takes does not tell.
        self._stand_in = next(filter(_is_hash, encoded.values()), b"")

    async def authenticate(self, *, session: Session) -> bool | None:
        if session.username is None or not self._passwords:
            return None
        known = self._passwords.get(session.username)
        expected = self._stand_in if known is None else known
        given = (session.password or "").encode("utf-8", "surrogateescape")
        if not _is_hash(expected):
            same = compare_digest(given, expected)
        elif known is None:
            same = await self._belongs(given, expected, session)
        else:
            same = await self._is_right(given, expected, session)
        if not same or known is None:
            return False
        session.is_anonymous = False
        return True

    async def close(self) -> None:
        """Cancel the checks that still wait for a thread."""
        self._checks.close()

    async def _is_right(self, given: bytes, expected: bytes, session: Session) -> bool:
        both = hashlib.blake2b(expected + b"\0" + given, key=self._secret).digest()
        if both in self._right:
            return True
        if not await self._belongs(given, expected, session):
            return False
        if len(self._right) >= MAX_REMEMBERED:
            self._right.clear()
        self._right.add(both)
        return True

    async def _belongs(self, given: bytes, expected: bytes, session: Session) -> bool:
        check = partial(self._hasher.verify, given, expected)
        return await self._checks.make(check, session.remote_address or "", session.username or "")

    @dataclass
    class Config:
        """Configuration of PasswordAuthPlugin."""

        passwords: dict[str, str] = field(default_factory=dict)
        """User names to passwords: plain, or argon2 hashes (``$argon2...``)."""


class AuthPlugins:
    """The authentication plugins, with amqtt's rule: every answer must be true, and there must be one."""

    def __init__(self, plugins: Sequence[BaseAuthPlugin], views: SessionViews) -> None:
        self._views = views
        self.use(plugins)

    def use(self, plugins: Sequence[BaseAuthPlugin]) -> None:
        """Use these plugins from now on."""
        self._plugins = tuple(plugins)
        self._at_once = all(type(plugin).__module__ in AT_ONCE for plugin in plugins)

    def authenticate(self, credentials: Credentials) -> ReasonCode | Awaitable[ReasonCode | None] | None:
        """An authenticator for the engine's access control."""
        answer = self._ask(self._views.arriving(credentials), credentials.proven)
        return step(answer) if self._at_once else answer

    async def _ask(self, session: SessionView, proven: bool) -> ReasonCode | None:
        given = session.client.username is not None
        consent = None
        for plugin in self._plugins:
            if proven and type(plugin) is PasswordAuthPlugin:
                continue
            try:
                answer = await plugin.authenticate(session=session)
            except UnavailableError:
                raise
            except Exception:
                log.exception(
                    "plugin %s failed to authenticate client %s, which is refused",
                    type(plugin).__qualname__,
                    session.client_id,
                )
                answer = False
            if answer:
                consent = ReasonCode.SUCCESS
            elif answer is not None:
                return ReasonCode.BAD_USER_NAME_OR_PASSWORD if given else ReasonCode.NOT_AUTHORIZED
        return consent


def check_passwords(passwords: Mapping[str, str]) -> None:
    """Raises ValueError naming a user whose hash cannot be read."""
    for user, password in passwords.items():
        if _is_hash(password.encode()) and not Argon2Hasher.identify(password):
            raise ValueError(f"the password of user {user!r} begins like an argon2 hash, but is not one")


def _is_hash(password: bytes) -> bool:
    return password.startswith(b"$argon2")
