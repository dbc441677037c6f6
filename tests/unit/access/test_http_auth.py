"""`auth.http_auth`, against a server that answers, refuses, hangs or is not there."""

from __future__ import annotations

import asyncio
import json
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pybroker.broker.access.errors import AccessError
from pybroker.broker.access.http_auth import HttpAuth
from pybroker.broker.access.http_client import HttpClient
from pybroker.broker.clock import ManualClock
from pybroker.broker.config import load
from pybroker.broker.config.settings import HttpAuthSettings, HttpRequestSettings
from pybroker.broker.engine.access import Action, Credentials, UnavailableError
from pybroker.broker.events import Client
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.webhook.settings import TlsClient

from .deciding_server import DecidingServer

OK, NO, WRONG = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED, ReasonCode.BAD_USER_NAME_OR_PASSWORD
PUB, SUB = Action.PUBLISH, Action.SUBSCRIBE
ANN = Client("c1", "ann", peer="[2001:db8::7]:50000", listener="tcp.edge")
NOBODY = Client("c2")
CERTIFICATE = {"subject": ((("organizationName", "Acme"),), (("commonName", "device 7"),))}


@asynccontextmanager
async def http_auth(clock: ManualClock | None = None, **settings: Any) -> AsyncIterator[HttpAuth]:
    found = HttpAuthSettings(**settings)
    client = HttpClient(found, clock or ManualClock())
    try:
        yield HttpAuth(found, client, {"tcp.edge": 1884}.get)  # type: ignore[arg-type]
    finally:
        await client.close()


async def settled(answer: Any) -> Any:
    return await answer if isinstance(answer, Awaitable) else answer


def login(client: Client = ANN, password: bytes | None = b"pw") -> Credentials:
    return Credentials(client, password, CERTIFICATE)


EVERYTHING = tuple(
    (name, name) for name in ("%u", "%c", "%a", "%P", "%p", "%C", "%d", "%t", "%A", "%r", "%m")
)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, OK), (201, NO), (204, NO), (302, NO), (401, WRONG), (403, NO), (404, NO)],
)
async def test_only_200_lets_a_client_in(status: int, verdict: ReasonCode) -> None:
    async with DecidingServer(status) as server, http_auth(auth_req=HttpRequestSettings(server.url)) as auth:
        assert await auth.authenticate(login()) is verdict
        assert len(server.questions) == 1


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, True), (204, False), (302, False), (401, False), (403, False)]
)
async def test_only_200_allows_a_topic(status: int, verdict: bool) -> None:
    async with DecidingServer(status) as server, http_auth(acl_req=HttpRequestSettings(server.url)) as auth:
        assert await settled(auth.authorize(ANN, "t", PUB)) is verdict


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_server_in_trouble_is_one_that_cannot_be_asked(status: int) -> None:
    async with DecidingServer(status) as server, http_auth(auth_req=HttpRequestSettings(server.url)) as auth:
        with pytest.raises(UnavailableError):
            await auth.authenticate(login())


async def test_every_placeholder_of_a_login() -> None:
    async with (
        DecidingServer() as server,
        http_auth(auth_req=HttpRequestSettings(server.url, params=EVERYTHING)) as auth,
    ):
        await auth.authenticate(login())
        assert server.questions[0].form == {
            "%u": "ann",
            "%c": "c1",
            "%a": "2001:db8::7",
            "%P": "pw",
            "%p": "1884",
            "%C": "device 7",
            "%d": "organizationName=Acme,commonName=device 7",
            "%t": "",
            "%A": "",
            "%r": "mqtt",
            "%m": "",
        }


@pytest.mark.parametrize(("action", "access"), [(SUB, "1"), (PUB, "2")])
async def test_every_placeholder_of_a_topic(action: Action, access: str) -> None:
    async with (
        DecidingServer() as server,
        http_auth(acl_req=HttpRequestSettings(server.url, params=EVERYTHING)) as auth,
    ):
        await settled(auth.authorize(ANN, "a/%u/+", action))
        form = server.questions[0].form
        assert (form["%t"], form["%A"], form["%u"], form["%P"]) == ("a/%u/+", access, "ann", "")


def test_what_is_not_known_of_a_topic_is_warned_of(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    asked = 'url = "http://127.0.0.1/", params { a = "%u:%P", b = "%d" }'
    conf.write_text(f"auth {{ http_auth {{ auth_req {{ {asked} }}, acl_req {{ {asked} }} }} }}\n")
    (warning,) = load(conf).warnings
    assert warning.key == "auth.http_auth.acl_req.params"
    assert warning.message.startswith("%P and %d will be empty")


async def test_what_a_client_sends_is_not_filled_in_again() -> None:
    params = (("user", "<%u>"), ("both", "%u:%P"))
    eve = Client("c", "%P", listener="tcp.edge")
    async with (
        DecidingServer() as server,
        http_auth(auth_req=HttpRequestSettings(server.url, params=params)) as auth,
    ):
        await auth.authenticate(login(eve, b"&both=x"))
        assert server.questions[0].form == {"user": "<%P>", "both": "%P:&both=x"}


async def test_no_name_and_no_password_are_empty() -> None:
    params = (("u", "%u"), ("P", "%P"))
    async with (
        DecidingServer() as server,
        http_auth(auth_req=HttpRequestSettings(server.url, params=params)) as auth,
    ):
        await auth.authenticate(Credentials(NOBODY))
        assert server.questions[0].form == {"u": "", "P": ""}


async def test_get_asks_in_the_query_and_headers_are_sent() -> None:
    request = "get", (("x-key", "secret"),), (("topic", "%t"), ("fixed", "1 & 2"))
    async with DecidingServer() as server:
        asked = HttpRequestSettings(f"{server.url}/acl", *request)
        async with http_auth(acl_req=asked) as auth:
            assert await settled(auth.authorize(ANN, "a b/ü", PUB))
            question = server.questions[0]
            assert (question.method, question.path) == ("GET", "/acl")
            assert question.query == {"topic": "a b/ü", "fixed": "1 & 2"}
            assert question.headers["x-key"] == "secret"


async def test_json_where_the_headers_say_so() -> None:
    headers = (("Content-Type", "application/json"),)
    async with DecidingServer() as server:
        asked = HttpRequestSettings(server.url, headers=headers, params=(("user", "%u"),))
        async with http_auth(auth_req=asked) as auth:
            assert await auth.authenticate(login()) is OK
            assert json.loads(server.questions[0].body) == {"user": "ann"}


SUPER = [
    # auth_req, super_req: the verdict, and whether the client may do everything
    (200, 200, OK, True),
    (200, 403, OK, False),
    (403, 200, NO, False),
    (None, 200, None, True),
    (None, 403, None, False),
    (200, None, OK, False),
]


@pytest.mark.parametrize(("auth_status", "super_status", "verdict", "superuser"), SUPER)
async def test_super_users(
    auth_status: int | None, super_status: int | None, verdict: ReasonCode | None, superuser: bool
) -> None:
    async with DecidingServer() as server:
        asked = {}
        for name, status in (("auth_req", auth_status), ("super_req", super_status)):
            if status is not None:
                asked[name] = HttpRequestSettings(f"{server.url}/{name}")
                server.statuses[f"/{name}"] = status
        async with http_auth(**asked) as auth:
            credentials = login()
            assert await auth.authenticate(credentials) is verdict
            assert credentials.superuser is superuser


async def test_a_server_that_hangs_is_waited_for_so_long(caplog: pytest.LogCaptureFixture) -> None:
    async with DecidingServer() as server:
        server.gate.clear()
        async with http_auth(auth_req=HttpRequestSettings(server.url), timeout=0.05) as auth:
            with pytest.raises(UnavailableError):
                await auth.authenticate(login())
            assert "fails: no answer in 0.05 s" in caplog.text
            server.gate.set()


async def test_a_server_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with http_auth(auth_req=HttpRequestSettings(f"http://127.0.0.1:{port}/auth?key=1")) as auth:
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await auth.authenticate(login())
    assert len(caplog.messages) == 1, "an outage is told once"
    assert f"http://127.0.0.1:{port}/auth?key=*** fails" in caplog.text
    assert "key=1" not in caplog.text


@asynccontextmanager
async def bare_server(serve: Callable[[StreamReader, StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """Its port; each connection is ``serve``'s."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_no_secret_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def garbage(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"garbage\r\n\r\n")
        writer.close()

    async with bare_server(garbage) as port:
        request = HttpRequestSettings(
            f"http://me:hidden1@127.0.0.1:{port}/auth?key=hidden2", "get", params=(("password", "%P"),)
        )
        async with http_auth(auth_req=request) as auth:
            with pytest.raises(UnavailableError):
                await auth.authenticate(login(password=b"hidden3"))
    assert f"http://127.0.0.1:{port}/auth?key=*** fails: the answer is invalid" in caplog.text
    assert "hidden" not in caplog.text


@pytest.mark.parametrize(
    "flood", [b"HTTP/1.1 100 Continue\r\n\r\n" * 100, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000]
)
async def test_an_answer_without_end_is_cut_off(caplog: pytest.LogCaptureFixture, flood: bytes) -> None:
    async def pour(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while not writer.is_closing():
            writer.write(flood)
            await writer.drain()

    async with bare_server(pour) as port:
        request = HttpRequestSettings(f"http://127.0.0.1:{port}/", "get")
        async with http_auth(auth_req=request, timeout=60.0) as auth:
            with pytest.raises(UnavailableError):
                await auth.authenticate(login())
    assert "the answer is invalid: its head is too long" in caplog.text


async def test_the_time_for_a_connection_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as full:  # nobody accepts, and there is no room for another
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for one in fillers:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        request = HttpRequestSettings(f"http://127.0.0.1:{full.getsockname()[1]}/")
        async with http_auth(auth_req=request, timeout=60.0, connect_timeout=0.05) as auth:
            with pytest.raises(UnavailableError):
                await auth.authenticate(login())
        for one in fillers:
            one.close()
    assert "cannot be reached in time" in caplog.text


async def test_a_connection_that_the_server_closed_meanwhile_is_no_outage() -> None:
    """It may end just when it is used again."""
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n\r\n"]

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        while answers and (head := await reader.readuntil(b"\r\n\r\n")):
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            writer.write(answer := answers.pop(0))
            if not answer:
                break
        writer.close()

    async with bare_server(serve) as port:
        request = HttpRequestSettings(f"http://127.0.0.1:{port}/", params=(("u", "%u"),))
        async with http_auth(auth_req=request) as auth:
            assert await auth.authenticate(login()) is OK
            assert await auth.authenticate(login()) is OK
    assert not answers


async def test_the_end_of_an_outage_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with DecidingServer(500) as server, http_auth(acl_req=HttpRequestSettings(server.url)) as auth:
        for topic in ("a", "b"):
            with pytest.raises(UnavailableError):
                await settled(auth.authorize(ANN, topic, PUB))
        server.status = 403
        assert await settled(auth.authorize(ANN, "a", PUB)) is False
        assert (
            caplog.messages[-1] == "auth.http_auth.acl_req: answers again; 2 requests were refused meanwhile"
        )


async def test_the_same_question_is_never_asked_twice_at_a_time() -> None:
    params = (("u", "%u"), ("t", "%t"))
    async with DecidingServer() as server:
        server.gate.clear()
        asked = HttpRequestSettings(server.url, params=params)
        async with http_auth(acl_req=asked, auth_req=asked) as auth:
            topics = [asyncio.ensure_future(settled(auth.authorize(ANN, "t", PUB))) for _ in range(50)]
            logins = [asyncio.ensure_future(settled(auth.authenticate(login()))) for _ in range(50)]
            while len(server.questions) < 2:
                await server.asked.wait()
                server.asked.clear()
            server.gate.set()
            assert await asyncio.gather(*topics) == [True] * 50
            assert await asyncio.gather(*logins) == [OK] * 50
            assert len(server.questions) == 2


async def test_who_stops_waiting_leaves_the_others_their_answer() -> None:
    async with DecidingServer() as server:
        server.gate.clear()
        async with http_auth(acl_req=HttpRequestSettings(server.url)) as auth:
            one, other = (asyncio.ensure_future(settled(auth.authorize(ANN, "t", PUB))) for _ in range(2))
            await server.asked.wait()
            one.cancel()
            server.gate.set()
            assert await other is True


async def test_no_more_requests_at_a_time_than_the_pool_holds() -> None:
    async with DecidingServer() as server:
        asked = HttpRequestSettings(server.url, params=(("t", "%t"),))
        async with http_auth(acl_req=asked, pool_size=3) as auth:
            answers = (settled(auth.authorize(ANN, f"t/{n}", PUB)) for n in range(20))
            assert await asyncio.gather(*answers) == [True] * 20
            assert len(server.questions) == 20
            assert server.at_a_time <= 3


@pytest.mark.parametrize(("ttl", "requests"), [(0.0, 3), (10.0, 2)])
async def test_an_answer_is_remembered_for_its_time(ttl: float, requests: int) -> None:
    clock = ManualClock(1000.0)
    async with DecidingServer(403) as server:
        asked = HttpRequestSettings(server.url, params=(("P", "%P"),))
        async with http_auth(clock, auth_req=asked, cache_ttl=ttl) as auth:
            assert await auth.authenticate(login()) is NO
            clock.advance(9.9)
            assert await auth.authenticate(login()) is NO
            clock.advance(0.2)
            server.status = 200
            assert await auth.authenticate(login()) is OK
            assert len(server.questions) == requests


async def test_a_known_answer_is_given_at_once_and_only_for_its_own_question() -> None:
    async with DecidingServer() as server:
        asked = HttpRequestSettings(server.url, params=(("t", "%t"), ("A", "%A")))
        async with http_auth(acl_req=asked, cache_ttl=10.0) as auth:
            assert await settled(auth.authorize(ANN, "t", PUB)) is True
            assert auth.authorize(ANN, "t", PUB) is True
            server.status = 403
            assert await settled(auth.authorize(ANN, "t", SUB)) is False


async def test_trouble_is_not_remembered() -> None:
    async with (
        DecidingServer(500) as server,
        http_auth(acl_req=HttpRequestSettings(server.url), cache_ttl=10.0) as auth,
    ):
        with pytest.raises(UnavailableError):
            await settled(auth.authorize(ANN, "t", PUB))
        server.status = 200
        assert await settled(auth.authorize(ANN, "t", PUB)) is True


async def test_where_nothing_is_to_be_asked_there_is_no_opinion() -> None:
    async with http_auth() as auth:
        assert await auth.authenticate(login()) is None
        assert auth.authorize(ANN, "t", PUB) is None


async def test_closing_may_wait_for_what_is_under_way() -> None:
    async with DecidingServer() as server:
        server.gate.clear()
        settings = HttpAuthSettings(acl_req=HttpRequestSettings(server.url))
        client = HttpClient(settings, ManualClock())
        answer = asyncio.ensure_future(
            settled(HttpAuth(settings, client, lambda _: 0).authorize(ANN, "t", PUB))
        )
        await server.asked.wait()
        closing = asyncio.ensure_future(client.close(finish=True))
        await asyncio.sleep(0)
        server.gate.set()
        await closing
        assert await answer is True


async def test_closing_waits_for_the_second_question_of_a_login_too() -> None:
    async with DecidingServer() as server:
        server.gate.clear()
        settings = HttpAuthSettings(
            auth_req=HttpRequestSettings(server.url), super_req=HttpRequestSettings(server.url)
        )
        client = HttpClient(settings, ManualClock())
        answer = asyncio.ensure_future(settled(HttpAuth(settings, client, lambda _: 0).authenticate(login())))
        await server.asked.wait()
        closing = asyncio.ensure_future(client.close(finish=True))
        await asyncio.sleep(0)
        server.gate.set()
        await closing
        assert await answer is OK
        assert len(server.questions) == 2
        assert not any(connections._open for connections in client._connections.values())


@pytest.mark.parametrize("key", ["cacertfile", "certfile"])
def test_a_certificate_that_cannot_be_used_is_told_at_once(tmp_path: Path, key: str) -> None:
    path = tmp_path / "x.pem"
    path.write_text("nothing of the kind")
    tls = TlsClient(**{key: path})
    asked = HttpRequestSettings("https://127.0.0.1/", tls=tls)
    with pytest.raises(AccessError, match=rf"auth\.http_auth\.acl_req\.tls: {key} .*x\.pem: "):
        HttpClient(HttpAuthSettings(acl_req=asked), ManualClock())


async def test_https_with_an_authority_of_its_own(tmp_path: Path) -> None:
    import ssl

    import trustme
    from aiohttp import web

    authority, other = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def yes(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_post("/", yes)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://localhost:{runner.addresses[0][1]}/"
    try:
        for name, ca in (("right", authority), ("wrong", other)):
            ca.cert_pem.write_to_path(str(tmp_path / name))
        for tls, works in (
            (TlsClient(cacertfile=tmp_path / "right"), True),
            (TlsClient(cacertfile=tmp_path / "wrong"), False),
            (None, False),
            (TlsClient(verify=False), True),
        ):
            async with http_auth(auth_req=HttpRequestSettings(url, tls=tls)) as auth:
                if works:
                    assert await auth.authenticate(login()) is OK
                else:
                    with pytest.raises(UnavailableError):
                        await auth.authenticate(login())
    finally:
        await runner.cleanup()
