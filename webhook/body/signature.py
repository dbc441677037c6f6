"""Signatures by Standard Webhooks 1.0, https://www.standardwebhooks.com"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence

PREFIX = "whsec_"


class SecretError(ValueError):
    """A secret is not ``whsec_`` followed by base64."""


def key_of(secret: str) -> bytes:
    """The bytes of a secret, ``whsec_<base64>`` or the base64 alone. Raises SecretError."""
    try:
        text = secret.removeprefix(PREFIX).rstrip("=")
        key = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise SecretError(f"a secret must be {PREFIX} followed by base64, such as {PREFIX}MfKQ9r8GKYqrTwjU")
    return key


class Signer:
    """Signs with every secret, so that during a rotation a receiver may know any of them."""

    __slots__ = ("_keys",)

    def __init__(self, secrets: Iterable[str]) -> None:
        self._keys = tuple(key_of(secret) for secret in secrets)

    def sign(self, id: str, timestamp: int, body: bytes) -> str:
        """The value of ``webhook-signature``."""
        content = b"%b.%d.%b" % (id.encode(), timestamp, body)
        return " ".join("v1," + b64encode(hmac.digest(key, content, "sha256")).decode() for key in self._keys)


TOLERANCE = 300.0
"""Seconds that a request's timestamp may differ from the receiver's clock."""


def check(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float) -> str | None:
    """Why a received request cannot be trusted, or None. ``headers`` by lower-case names."""
    try:
        id, stamp, given = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as error:
        return f"the header {error.args[0]} is missing"
    if not (stamp.isascii() and stamp.isdigit()):
        return "webhook-timestamp is not a number"
    if abs(now - int(stamp)) > TOLERANCE:
        return f"webhook-timestamp is {abs(now - int(stamp)):.0f} s away from this machine's time"
    wanted = Signer(secrets).sign(id, int(stamp), body).split()
    if any(
        hmac.compare_digest(w.encode(), g.encode(errors="replace")) for w in wanted for g in given.split()
    ):
        return None
    return "no signature fits the secret"
