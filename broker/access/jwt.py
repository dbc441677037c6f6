"""`auth.jwt`: the password is a token, signed with a configured key."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from ..config.settings import JwtSettings
from ..engine.access import Credentials
from ..packets.reasons import ReasonCode
from .errors import AccessError

log = logging.getLogger("pybroker.access")

SHORTEST_SECRET = 32
"""Bytes. RFC 7518, section 3.2, requires at least as many with HS256."""


class Jwt:
    """An authenticator. It has no opinion on a password that is not a token.

    The signature, ``exp`` and ``nbf`` are always checked, ``aud`` and ``iss`` if the settings name them. Only
    the configured algorithms are accepted, whatever the token says.
    """

    def __init__(self, settings: JwtSettings) -> None:
        """Raises AccessError if the key cannot be used, or PyJWT is not installed."""
        try:
            import jwt
        except ImportError:
            raise AccessError("auth.jwt needs PyJWT: pip install 'pybroker[jwt]'") from None
        warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)  # said below, once
        self._jwt = jwt
        self._settings = settings
        self._key = self._checked_key()

    def __call__(self, credentials: Credentials) -> ReasonCode | None:
        token = credentials.password
        if not token or not self._is_token(token):
            return None
        client = credentials.client
        try:
            claims = self._claims(token)
        except (self._jwt.InvalidTokenError, RecursionError) as error:
            log.info("client %s from %s: its token is refused: %s", client.client_id, client.peer, error)
            return ReasonCode.NOT_AUTHORIZED
        named = claims.get(self._settings.username_claim)
        if named is None or named != client.username:
            log.info(
                "client %s from %s: its token is refused: %s is %r, but the user name is %r",
                client.client_id,
                client.peer,
                self._settings.username_claim,
                named,
                client.username,
            )
            return ReasonCode.BAD_USER_NAME_OR_PASSWORD
        credentials.proven = True
        return ReasonCode.SUCCESS

    def _is_token(self, password: bytes) -> bool:
        try:
            self._jwt.get_unverified_header(password)
        except (self._jwt.InvalidTokenError, RecursionError):
            return False
        return True

    def _claims(self, token: bytes) -> Mapping[str, Any]:
        settings = self._settings
        return self._jwt.decode(
            token,
            self._key,
            algorithms=settings.algorithms,
            audience=settings.audience,
            issuer=settings.issuer,
            options={"verify_aud": settings.audience is not None},
        )

    def _checked_key(self) -> str | bytes:
        settings = self._settings
        if settings.public_keyfile is None:
            key: str | bytes = settings.secret or ""
            if len(key) < SHORTEST_SECRET:
                log.warning("auth.jwt.secret is shorter than %d bytes; it may be guessed", SHORTEST_SECRET)
        else:
            try:
                key = settings.public_keyfile.read_bytes()
            except OSError as error:
                raise AccessError(
                    f"auth.jwt.public.keyfile: {settings.public_keyfile}: {error.strerror}"
                ) from None
        where = "secret" if settings.public_keyfile is None else "public.keyfile"
        for name in settings.algorithms:
            try:
                self._jwt.get_algorithm_by_name(name).prepare_key(key)
            except NotImplementedError as error:
                raise AccessError(f"auth.jwt.algorithms: {name}: {error}") from None
            except (self._jwt.InvalidKeyError, ValueError, TypeError) as error:
                raise AccessError(f"auth.jwt.{where}: no key for {name}: {error}") from None
        return key
