"""The HTTP side as such: who is let in, what is bounded, what a path leads to."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import trustme
from yarl import URL

from pybroker.broker.app import App
from pybroker.broker.config import ConfigError, load
from pybroker.broker.rest import calls, server
from pybroker.broker.transport.errors import ListenError
from tests.waiting import DEADLINE

from .conftest import Serve, basic, url

SECRET = "username = ann\npassword = xyzzy"


async def raw(app: App, request: bytes) -> bytes:
    """What the server says to these bytes, until it closes or has answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", app.rest.port)
    writer.write(request)
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
    except asyncio.IncompleteReadError as error:
        return error.partial
    finally:
        writer.close()
    return head


async def test_without_a_section_nothing_is_served() -> None:
    from pybroker.broker.config import Settings

    app = App(replace(Settings(), listeners=()))
    await app.start()
    assert (app.rest.url, app.rest.port) == (None, 0)
    await app.stop(0)


async def test_a_port_in_use_keeps_the_broker_from_starting(serve: Serve) -> None:
    app = await serve()
    with pytest.raises(ListenError, match=f"http_server: .*{app.rest.port}"):
        await serve(f"port = {app.rest.port}")


@pytest.mark.parametrize("path", ["/nodes", "/nodes/", "/brokers"])
async def test_a_resource(serve: Serve, http: aiohttp.ClientSession, path: str) -> None:
    app = await serve()
    async with http.get(url(app, "/api/v4" + path)) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert (await answer.json())["data"][0]["node_status"] == "Running"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v4/nowhere", 404),
        ("GET", "/api/v4//nodes", 404),
        ("GET", "/api/v4/NODES", 404),
        ("POST", "/api/v4/nodes", 404),
        ("PATCH", "/api/v4/nodes", 405),
        ("OPTIONS", "/api/v4/nodes", 405),
        ("GET", "/api/v4x", 404),
        ("GET", "/favicon.ico", 404),
        ("POST", "/", 405),
        ("GET", "/../../../../etc/passwd", 404),
        ("GET", "/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/static/index.html", 404),
        ("GET", "/%2e%2e/server.py", 404),
        ("GET", "//etc/passwd", 404),
        ("GET", "/index.html%00", 404),
    ],
)
async def test_paths_that_lead_nowhere(serve: Serve, method: str, path: str, status: int) -> None:
    app = await serve()
    head = await raw(app, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert int(head.split()[1]) == status, head


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, 104),
        ("Basic ", 104),
        ("basic YW5uOnh5enp5", 104),
        ("Bearer YW5uOnh5enp5", 104),
        ("Basic !!!!", 103),
        ("Basic YW5uOng=", 103),
        ("Basic Ym9iOnh5enp5", 103),
        ("Basic /w==", 103),
    ],
)
async def test_credentials(
    serve: Serve, http: aiohttp.ClientSession, authorization: str | None, code: int
) -> None:
    app = await serve(SECRET)
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/api/v4/nodes", "/api/v4/nowhere"):  # an unknown path tells a stranger nothing
        async with http.get(url(app, path), headers=headers) as answer:
            assert (answer.status, await answer.json()) == (401, {"code": code})
            assert "WWW-Authenticate" not in answer.headers
    for path in ("/", "/events", "/nowhere"):
        async with http.get(url(app, path), headers=headers) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic")  # so that a browser asks
    async with http.get(url(app, "/api/v4/nodes"), headers=basic("ann", "xyzzy")) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://{host}"}, 403),
        ({"Origin": "http://{host}"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "[::1]:8081"}, 200),
        ({"Host": "localhost"}, 200),
    ],
)
async def test_pages_of_other_sites(
    serve: Serve, http: aiohttp.ClientSession, headers: dict[str, str], status: int
) -> None:
    app = await serve()
    host = f"127.0.0.1:{app.rest.port}"
    headers = {name: value.format(host=host) for name, value in headers.items()}
    async with http.get(url(app, "/api/v4/nodes"), headers=headers) as answer:
        assert answer.status == status
        assert "Access-Control-Allow-Origin" not in answer.headers


APP = "https://app.example"
CORS = f'cors_origins = ["{APP}", "http://localhost:3000"]'
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


async def test_a_page_of_an_allowed_origin(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve(f"{SECRET}\n{CORS}")
    path = url(app, "/api/v4/mqtt/publish")
    for origin in (APP, "http://localhost:3000"):
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        async with http.options(path, headers=headers | PREFLIGHT) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, DELETE"
            assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
            assert answer.headers["Vary"] == "Origin"
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert "Access-Control-Allow-Private-Network" not in answer.headers
        body = {"topic": "a", "payload": "x"}
        async with http.post(path, headers=headers | basic("ann", "xyzzy"), json=body) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == origin
        async with http.post(path, headers=headers, json=body) as answer:
            assert answer.status == 401
            assert answer.headers["Access-Control-Allow-Origin"] == origin, "it may read why"
        async with http.get(url(app, "/events"), headers=headers | basic("ann", "xyzzy")) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == origin
    private = {"Origin": APP, "Access-Control-Request-Private-Network": "true"}
    async with http.options(path, headers=private | PREFLIGHT) as answer:
        assert answer.headers["Access-Control-Allow-Private-Network"] == "true"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        f"{APP}:8443",
        f"{APP}.evil.example",
        "HTTPS://APP.EXAMPLE",
        "null",
        "*",
        "",
    ],
)
async def test_a_page_of_another_origin(serve: Serve, http: aiohttp.ClientSession, origin: str) -> None:
    app = await serve(f"{SECRET}\n{CORS}")
    path = url(app, "/api/v4/nodes")
    headers = {"Origin": origin, **basic("ann", "xyzzy")}
    async with http.options(path, headers=headers | PREFLIGHT) as answer:
        assert answer.status in (403, 405)
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
    async with http.get(path, headers=headers) as answer:
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
    async with http.get(path, headers={"Sec-Fetch-Site": "cross-site", **basic("ann", "xyzzy")}) as answer:
        assert answer.status == 403, "without Origin it is nobody's that is allowed"


async def test_an_allowed_origin_changes_nothing_about_the_host(
    serve: Serve, http: aiohttp.ClientSession
) -> None:
    app = await serve(CORS)
    headers = {"Origin": APP, "Host": "evil.example"}
    for method, more in (("OPTIONS", PREFLIGHT), ("GET", {})):
        async with http.request(method, url(app, "/api/v4/nodes"), headers=headers | more) as answer:
            assert answer.status == 403


async def test_a_reload_takes_an_origin_away(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve(CORS)
    for origins, status in ((None, 200), ((), 403)):
        if origins is not None:
            assert app.settings.http_server is not None
            new = replace(app.settings.http_server, cors_origins=origins)
            await app.reload(replace(app.settings, http_server=new))
        async with http.get(url(app, "/api/v4/nodes"), headers={"Origin": APP}) as answer:
            assert answer.status == status


@pytest.mark.parametrize(
    ("origin", "error"),
    [
        ("*", "name each origin"),
        ("https://app.example/", "an origin has no path; write https://app.example"),
        ("app.example", "http or https, a host"),
        ("null", "http or https, a host"),
        ("https://*.example", "http or https, a host"),
        ("https://ann@app.example", "http or https, a host"),
        ("ftp://app.example", "http or https, a host"),
        ("https://app.example:99999", "http or https, a host"),
    ],
)
def test_origins_that_are_none(tmp_path: Path, origin: str, error: str) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(f'http_server {{ cors_origins = ["{origin}"] }}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(error)):
        load(conf)


def test_an_origin_is_kept_as_browsers_write_it(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text('http_server.cors_origins = ["HTTPS://App.Example:443", "http://[::1]:80"]\n')
    settings = load(conf).http_server
    assert settings is not None
    assert settings.cors_origins == ("https://app.example", "http://[::1]")


@pytest.mark.parametrize("head", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_come(serve: Serve, monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    monkeypatch.setattr(calls, "BODY_TIMEOUT", 0.05)
    app = await serve()
    request = f"POST /api/v4/mqtt/publish HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", app.rest.port)
    writer.write(request.encode())
    writer.write(b'5\r\n{"top')
    answer = await asyncio.wait_for(reader.readuntil(b'0.05 s"}'), DEADLINE)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in answer
    assert b"the body did not come within" in answer
    writer.close()


async def test_with_a_password_any_host_name_is_accepted(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve(SECRET)
    headers = {**basic("ann", "xyzzy"), "Host": "broker.example.org"}
    async with http.get(url(app, "/api/v4/nodes"), headers=headers) as answer:
        assert answer.status == 200


async def test_what_the_page_may_do_is_bounded(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    for path in ("/", "/api/v4/nodes", "/nowhere"):
        async with http.get(url(app, path)) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Set-Cookie" not in answer.headers


async def test_a_request_without_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT", 0.05)
    app = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", app.rest.port)
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    assert await asyncio.wait_for(reader.read(), DEADLINE) == b""
    writer.close()


async def test_too_many_connections(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve("limit_conn = 2")
    held = [await asyncio.open_connection("127.0.0.1", app.rest.port) for _ in range(2)]
    for _, writer in held:
        writer.write(b"GET /api/v4/nodes HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for reader, _ in held:
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
    assert b"503" in await raw(app, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    held.pop()[1].close()
    while b"503" in await raw(app, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):  # until that close is seen
        await asyncio.sleep(0)
    held.pop()[1].close()


async def test_a_reload_changes_the_password(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve(SECRET)
    assert app.settings.http_server is not None
    new = replace(app.settings.http_server, password="plugh")
    await app.reload(replace(app.settings, http_server=new))
    for password, status in (("xyzzy", 401), ("plugh", 200)):
        async with http.get(url(app, "/api/v4/nodes"), headers=basic("ann", password)) as answer:
            assert answer.status == status


async def test_tls(serve: Serve, tmp_path: Path, http: aiohttp.ClientSession) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    app = await serve(f'tls {{ certfile = "{tmp_path}/cert.pem", keyfile = "{tmp_path}/key.pem" }}')
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert URL(url(app, "/")).scheme == "https"
    async with http.get(url(app, "/api/v4/nodes"), ssl=context) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("http_server", "host", "warning"),
    [
        ("", "127.0.0.1", ""),
        ('ip_addr = "0.0.0.0"', "127.0.0.1", "at 127.0.0.1 only"),
        ('ip_addr = "0.0.0.0"\npassword = x', "0.0.0.0", ""),
        ('ip_addr = "0.0.0.0"\nauth_type = no_auth', "0.0.0.0", "every client that reaches it"),
        (
            'ip_addr = "0.0.0.0"\nusername = admin\npassword = public',
            "0.0.0.0",
            "everybody knows admin and public",
        ),
        ("username = admin\npassword = public", "127.0.0.1", ""),
        ('ip_addr = "::1"', "::1", ""),
    ],
)
def test_where_it_is_served(tmp_path: Path, http_server: str, host: str, warning: str) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(f"http_server {{\n{http_server}\n}}\n", encoding="utf-8")
    settings = load(conf)
    assert settings.http_server is not None
    assert settings.http_server.host == host
    told = " ".join(str(one) for one in settings.warnings if "http_server" in str(one))
    assert (warning in told) if warning else not told


def test_a_certificate_without_its_key(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(f'http_server {{ tls {{ certfile = "{conf}" }} }}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"http_server\.tls\.keyfile: missing"):
        load(conf)
