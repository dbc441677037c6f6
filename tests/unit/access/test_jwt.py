"""`auth.jwt`, row by row."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pybroker.broker.access.errors import AccessError
from pybroker.broker.access.jwt import Jwt
from pybroker.broker.config.settings import JwtSettings
from pybroker.broker.engine.access import Credentials
from pybroker.broker.events import Client
from pybroker.broker.packets.reasons import ReasonCode

SECRET = "a secret of more than thirty-two bytes"
NOW = int(time.time())
HOUR = 3600

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)

OK, NO, WRONG_USER = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED, ReasonCode.BAD_USER_NAME_OR_PASSWORD


def token(claims: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256") -> bytes:
    return jwt.encode(claims, key, algorithm).encode()


def unsigned(claims: dict[str, Any], header: dict[str, Any], signature: str = "") -> bytes:
    parts = (json.dumps(part).encode() for part in (header, claims))
    return (
        b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts) + b"." + signature.encode()
    )


def credentials(password: bytes | None, username: str | None = "ann") -> Credentials:
    return Credentials(Client("c", username), password)


BY_SECRET = JwtSettings(("HS256",), SECRET)
ANN = {"sub": "ann"}

ROWS = [
    ("a good token", BY_SECRET, token(ANN), OK),
    ("not yet expired", BY_SECRET, token(ANN | {"exp": NOW + HOUR, "nbf": NOW - HOUR}), OK),
    ("expired", BY_SECRET, token(ANN | {"exp": NOW - HOUR}), NO),
    ("not valid yet", BY_SECRET, token(ANN | {"nbf": NOW + HOUR}), NO),
    ("an expiry that is no time", BY_SECRET, token(ANN | {"exp": "soon"}), NO),
    ("another secret", BY_SECRET, token(ANN, "another secret of thirty-two bytes!"), NO),
    ("another algorithm", BY_SECRET, token(ANN, SECRET * 2, "HS512"), NO),
    ("no signature at all", BY_SECRET, unsigned(ANN, {"alg": "none", "typ": "JWT"}), NO),
    ("no signature, spelled otherwise", BY_SECRET, unsigned(ANN, {"alg": "None"}), NO),
    ("an unknown algorithm", BY_SECRET, unsigned(ANN, {"alg": "XX1"}, "eA"), NO),
    ("no algorithm", BY_SECRET, unsigned(ANN, {"typ": "JWT"}, "eA"), NO),
    ("somebody else's", BY_SECRET, token({"sub": "bob"}), WRONG_USER),
    ("nobody's", BY_SECRET, token({"name": "ann"}), WRONG_USER),
    ("another audience, nobody asked", BY_SECRET, token(ANN | {"aud": "x"}), OK),
    ("the audience", JwtSettings(("HS256",), SECRET, audience="mqtt"), token(ANN | {"aud": "mqtt"}), OK),
    (
        "one audience of many",
        JwtSettings(("HS256",), SECRET, audience="m"),
        token(ANN | {"aud": ["x", "m"]}),
        OK,
    ),
    ("another audience", JwtSettings(("HS256",), SECRET, audience="mqtt"), token(ANN | {"aud": "x"}), NO),
    ("no audience", JwtSettings(("HS256",), SECRET, audience="mqtt"), token(ANN), NO),
    ("the issuer", JwtSettings(("HS256",), SECRET, issuer="me"), token(ANN | {"iss": "me"}), OK),
    ("another issuer", JwtSettings(("HS256",), SECRET, issuer="me"), token(ANN | {"iss": "x"}), NO),
    ("no issuer", JwtSettings(("HS256",), SECRET, issuer="me"), token(ANN), NO),
    ("another claim", JwtSettings(("HS256",), SECRET, username_claim="device"), token({"device": "ann"}), OK),
    ("not a token", BY_SECRET, b"secret", None),
    ("not text", BY_SECRET, b"\xff\xfe.\x00.\x01", None),
    ("empty", BY_SECRET, b"", None),
    ("no password", BY_SECRET, None, None),
]


@pytest.mark.parametrize(
    ("settings", "password", "answer"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_tokens(settings: JwtSettings, password: bytes | None, answer: ReasonCode | None) -> None:
    assert Jwt(settings)(credentials(password)) is answer


def test_a_token_without_a_user_name_is_not_enough() -> None:
    assert Jwt(BY_SECRET)(credentials(token(ANN), None)) is WRONG_USER
    nobody = JwtSettings(("HS256",), SECRET, username_claim="device")
    assert Jwt(nobody)(credentials(token({"device": None}), None)) is WRONG_USER


@pytest.fixture
def public_key(tmp_path: Path) -> Path:
    path = tmp_path / "public.pem"
    path.write_bytes(PUBLIC_PEM)
    return path


def test_a_public_key(public_key: Path) -> None:
    check = Jwt(JwtSettings(("RS256", "PS256"), public_keyfile=public_key))
    assert check(credentials(token(ANN, RSA_KEY, "RS256"))) is OK
    assert check(credentials(token(ANN, RSA_KEY, "PS256"))) is OK
    assert check(credentials(token(ANN, RSA_KEY, "RS512"))) is NO
    assert check(credentials(token(ANN, OTHER_KEY, "RS256"))) is NO
    assert check(credentials(token(ANN, EC_KEY, "ES256"))) is NO


def test_a_public_key_is_no_shared_secret(public_key: Path) -> None:
    """Who has the public key must not be able to sign with it."""
    import hashlib
    import hmac

    signed = unsigned(ANN, {"alg": "HS256", "typ": "JWT"})[:-1]
    signature = base64.urlsafe_b64encode(hmac.new(PUBLIC_PEM, signed, hashlib.sha256).digest()).rstrip(b"=")
    assert (
        Jwt(JwtSettings(("RS256",), public_keyfile=public_key))(credentials(signed + b"." + signature)) is NO
    )


@pytest.mark.parametrize(
    ("algorithm", "content", "words"),
    [
        ("ES256", PUBLIC_PEM, "auth.jwt.public.keyfile: no key for ES256"),
        ("RS256", b"no key", "auth.jwt.public.keyfile: no key for RS256"),
        ("RS256", None, "auth.jwt.public.keyfile"),
    ],
)
def test_a_key_that_does_not_fit_is_told_at_once(
    tmp_path: Path, algorithm: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AccessError, match=words):
        Jwt(JwtSettings((algorithm,), public_keyfile=path))


def test_a_short_secret_is_complained_about(caplog: pytest.LogCaptureFixture) -> None:
    Jwt(JwtSettings(("HS256",), "short"))
    assert "shorter than 32 bytes" in caplog.text


@pytest.mark.parametrize("part", [0, 1])
def test_a_token_of_deeply_nested_json_is_refused(part: int) -> None:
    parts = token(ANN).split(b".")
    parts[part] = base64.urlsafe_b64encode(b"[" * 100_000).rstrip(b"=")
    assert Jwt(BY_SECRET)(credentials(b".".join(parts))) in (None, NO)
    signed = jwt.api_jws.encode(b"[" * 100_000, SECRET, "HS256").encode()
    assert Jwt(BY_SECRET)(credentials(signed)) == NO
