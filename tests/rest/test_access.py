"""Who may read and who may change: passwords, tokens and JSON Web Tokens."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pybroker.broker.access.errors import AccessError
from pybroker.broker.config import ConfigError, load
from tests.waiting import DEADLINE

from .conftest import Serve, basic, url

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
LATER, BEFORE = 32_503_680_000, 946_684_800  # the years 3000 and 2000

USERS = """username = ann
password = secret
token = all-of-it
read_only { username = bob, password = looks, token = only-looks }"""


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[no-any-return]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def forged(secret: bytes) -> str:
    """Signed by HMAC with what everybody knows: the public key. PyJWT refuses to make one."""
    head = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'exp': LATER})}"
    return f"{head}.{part(hmac.digest(secret, head.encode(), hashlib.sha256))}"


def by_jwt(tmp_path: Path, key: Any) -> str:
    (tmp_path / "public.pem").write_bytes(public_pem(key))
    return f'auth_type = jwt\njwt.public.keyfile = "{tmp_path}/public.pem"'


@pytest.mark.parametrize(
    ("headers", "read", "change"),
    [
        (basic("ann", "secret"), 200, 200),
        (bearer("all-of-it"), 200, 200),
        (basic("bob", "looks"), 200, 403),
        (bearer("only-looks"), 200, 403),
        (basic("bob", "secret"), 401, 401),
        (basic("ann", "looks"), 401, 401),
        (bearer("only-look"), 401, 401),
        (bearer(""), 401, 401),
        ({}, 401, 401),
    ],
)
async def test_readers_change_nothing(
    serve: Serve, http: aiohttp.ClientSession, headers: dict[str, str], read: int, change: int
) -> None:
    app = await serve(USERS)
    async with http.get(url(app, "/api/v4/nodes"), headers=headers) as answer:
        assert answer.status == read
    body = {"topic": "a", "payload": "x", "retain": True}
    async with http.post(url(app, "/api/v4/mqtt/publish"), headers=headers, json=body) as answer:
        assert answer.status == change
    assert len([topic for topic in app.engine.retained if topic == "a"]) == (change == 200)


async def test_every_method_but_get_is_a_change(serve: Serve) -> None:
    from pybroker.broker.rest.api import ROUTES

    assert [route.path for route in ROUTES if route.changes != (route.method != "GET")] == []


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")], ids=["RS256", "ES256"])
async def test_tokens(
    serve: Serve, http: aiohttp.ClientSession, tmp_path: Path, key: Any, algorithm: str
) -> None:
    app = await serve(by_jwt(tmp_path, key))
    other = (RSA, "RS256") if key is EC else (EC, "ES256")
    answers = {}
    for name, token in {
        "good": jwt.encode({"exp": LATER}, key, algorithm),
        "reads": jwt.encode({"exp": LATER, "scope": "read"}, key, algorithm),
        "writes": jwt.encode({"exp": LATER, "scope": "read write"}, key, algorithm),
        "old": jwt.encode({"exp": BEFORE}, key, algorithm),
        "early": jwt.encode({"exp": LATER, "nbf": LATER - 1}, key, algorithm),
        "without end": jwt.encode({}, key, algorithm),
        "unsigned": jwt.encode({"exp": LATER}, None, "none"),
        "another key": jwt.encode({"exp": LATER}, OTHER_RSA, "RS256"),
        "another algorithm": jwt.encode({"exp": LATER}, *other),
        "same key, other digest": jwt.encode({"exp": LATER}, RSA, "RS512"),
        "the public key as a secret": forged(public_pem(key)),
        "no token": "x.y.z",
        "none": "",
    }.items():
        async with http.get(url(app, "/api/v4/nodes"), headers=bearer(token)) as answer:
            read = (answer.status, (await answer.json())["code"])
        path = url(app, "/api/v4/mqtt/publish")
        async with http.post(path, headers=bearer(token), json={"topic": "a", "payload": ""}) as answer:
            answers[name] = (*read, answer.status)
    wrong = (401, 103, 401)
    assert answers == {
        "good": (200, 0, 200),
        "reads": (200, 0, 403),
        "writes": (200, 0, 200),
        "old": (401, 116, 401),
        "early": wrong,
        "without end": wrong,
        "unsigned": wrong,
        "another key": wrong,
        "another algorithm": wrong,
        "same key, other digest": wrong,
        "the public key as a secret": wrong,
        "no token": wrong,
        "none": (401, 104, 401),
    }
    async with http.get(url(app, "/"), headers=basic("admin", "public")) as answer:
        assert answer.status == 401
        assert "WWW-Authenticate" not in answer.headers  # a password would not do


@pytest.mark.parametrize("text", [b"nothing", b"", public_pem(ec.generate_private_key(ec.SECP384R1()))])
async def test_keys_that_are_none(serve: Serve, tmp_path: Path, text: bytes) -> None:
    server = by_jwt(tmp_path, RSA)
    (tmp_path / "public.pem").write_bytes(text)
    with pytest.raises(AccessError, match=r"http_server\.jwt\.public\.keyfile: .*public\.pem: "):
        await serve(server)


async def test_a_key_that_is_not_there(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="No such file"):
        await serve(f'auth_type = jwt\njwt.public.keyfile = "{tmp_path}/none.pem"')


@pytest.mark.parametrize(
    ("section", "error"),
    [
        ("auth_type = jwt", r"http_server\.jwt\.public\.keyfile: missing"),
        ('token = ""', r"http_server\.token: empty"),
        ('read_only.password = ""', r"http_server\.read_only\.password: empty"),
        ("username = a\npassword = b\nread_only.username = a", r"the same as http_server\.username"),
    ],
)
def test_credentials_that_guard_nothing(tmp_path: Path, section: str, error: str) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(f"http_server {{\n{section}\n}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=error):
        load(conf)


def test_a_strict_start_refuses_a_known_password(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    known = "username = admin, password = public"
    conf.write_text(f'http_server {{ ip_addr = "0.0.0.0", port = 0, {known} }}\n', encoding="utf-8")
    pybroker = Path(sys.executable).with_name("pybroker")
    command = [pybroker, "start", "--strict", "--conf", conf]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 2
    assert "everybody knows admin and public" in done.stderr
    assert "--strict allows none" in done.stderr
