"""The HTTP side as such: who is let in, what is bounded, what a path leads to."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import trustme
from yarl import URL

from pybroker.broker.app import App
from pybroker.broker.config import ConfigError, load
from pybroker.broker.rest import server
from pybroker.broker.transport.errors import ListenError

from .conftest import DEADLINE, Serve, basic, url

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


async def test_behind_a_password_any_name_will_do(serve: Serve, http: aiohttp.ClientSession) -> None:
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
        ('ip_addr = "0.0.0.0"\nauth_type = no_auth', "0.0.0.0", "everybody who reaches this address"),
        ('ip_addr = "0.0.0.0"\nusername = admin\npassword = public', "0.0.0.0", "known to everybody"),
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
