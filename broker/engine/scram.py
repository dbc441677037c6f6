"""SCRAM-SHA-256 (RFC 5802, RFC 7677): the client proves that it knows the password without sending it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple
from unicodedata import normalize

from ..packets.reasons import ReasonCode
from .access import Credentials
from .auth_method import Accepted, Challenge, Outcome, Rejected

NAME = "SCRAM-SHA-256"
ITERATIONS = 4096
SALT_BYTES = 16
REMEMBERED = 10_000
"""The number of users whose salted passwords are cached."""


class Salted(NamedTuple):
    """What a server needs to know of a password."""

    salt: bytes
    stored_key: bytes
    server_key: bytes


class ScramSha256:
    """The method for ``engine.auth_methods``: users and their plain passwords, salted when first asked for.

    A password that is a hash already (``$argon2...``) cannot be used; its user is refused like one that
    does not exist. Whether a user exists cannot be told from the answers.
    """

    def __init__(
        self,
        passwords: Mapping[str, str],
        *,
        salt: Callable[[str], bytes] | None = None,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(24),
    ) -> None:
        self._passwords = passwords
        self._secret = secrets.token_bytes(32)
        self._salt = salt or self._own_salt
        self._nonce = nonce
        self._salted = lru_cache(REMEMBERED)(self._derive)

    def __call__(self, credentials: Credentials) -> Exchange:
        return Exchange(self._lookup, self._nonce(), credentials.client.username)

    def _lookup(self, username: str) -> tuple[Salted, bool]:
        """The record to check against, and whether the check may succeed at all."""
        password = self._passwords.get(username)
        known = password is not None and not password.startswith("$argon2")
        salt = self._salt(username)
        if not known:
            return Salted(salt, self._secret, self._secret), False
        assert password is not None
        return self._salted(password, salt), True

    def _own_salt(self, username: str) -> bytes:
        """A salt that stays the same for a user as long as the broker runs, and cannot be guessed."""
        return hmac.digest(self._secret, username.encode(), "sha256")[:SALT_BYTES]

    @staticmethod
    def _derive(password: str, salt: bytes) -> Salted:
        salted = hashlib.pbkdf2_hmac("sha256", normalize("NFKC", password).encode(), salt, ITERATIONS)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        return Salted(salt, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))


class Exchange:
    """client-first -> server-first -> client-final -> server-final."""

    def __init__(self, lookup: Callable[[str], tuple[Salted, bool]], nonce: str, claimed: str | None) -> None:
        self._lookup = lookup
        self._nonce = nonce
        self._claimed = claimed
        self._username = ""
        self._header = ""
        self._bare = ""
        self._server_first = ""

    def step(self, data: bytes | None) -> Outcome:
        """The next message of the client; anything that is not one rejects it."""
        try:
            text = (data or b"").decode()
            if not text and not self._bare:
                return Challenge()  # the client wants to be asked first
            return self._final(text) if self._bare else self._first(text)
        except (ValueError, KeyError, Base64Error):
            return Rejected(ReasonCode.NOT_AUTHORIZED, "this is not a SCRAM-SHA-256 message")

    def _first(self, text: str) -> Outcome:
        binding, authorize_as, bare = text.split(",", 2)
        if binding not in ("n", "y") or authorize_as:
            return Rejected(text="neither channel binding nor another authorization identity is served")
        fields = _fields(bare)
        username = fields["n"].replace("=2C", ",").replace("=3D", "=")
        if self._claimed not in (None, username):
            return Rejected(text="CONNECT names another user")
        self._username = username
        self._header, self._bare = f"{binding},{authorize_as},", bare
        self._nonce = fields["r"] + self._nonce
        salt = b64encode(self._lookup(username)[0].salt).decode()
        self._server_first = f"r={self._nonce},s={salt},i={ITERATIONS}"
        return Challenge(self._server_first.encode())

    def _final(self, text: str) -> Outcome:
        without_proof, _, proof64 = text.rpartition(",p=")
        fields = _fields(without_proof)
        salted, possible = self._lookup(self._username)
        signed = f"{self._bare},{self._server_first},{without_proof}".encode()
        proof = b64decode(proof64, validate=True)
        signature = hmac.digest(salted.stored_key, signed, "sha256")
        if len(proof) != len(signature):
            return Rejected()
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        proven = hmac.compare_digest(hashlib.sha256(client_key).digest(), salted.stored_key)
        same_header = b64decode(fields["c"], validate=True) == self._header.encode()
        same_nonce = hmac.compare_digest(fields["r"].encode(), self._nonce.encode())
        if not (proven and possible and same_header and same_nonce):
            return Rejected()
        verifier = b64encode(hmac.digest(salted.server_key, signed, "sha256"))
        return Accepted(b"v=" + verifier, self._username)


def _fields(text: str) -> dict[str, str]:
    """``a=1,b=2`` as a dict. Raises ValueError for anything else, and for extensions we must know (m=)."""
    fields = dict(part.split("=", 1) for part in text.split(","))
    if "m" in fields:
        raise ValueError("an extension that is not served")
    return fields
