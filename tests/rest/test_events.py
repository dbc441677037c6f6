"""The stream of events that the page shows."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import aiomqtt
import pytest

from pybroker.broker.app import App
from pybroker.broker.rest.page import events
from pybroker.broker.rest.page.events import PAYLOAD_SHOWN
from tests.waiting import DEADLINE, until

from .conftest import Serve, url


class Events:
    """Reads a stream of server-sent events."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self, kind: str = "message") -> Any:
        """The data of the next event of this kind."""
        async with asyncio.timeout(DEADLINE):
            name = ""
            while True:
                line = (await self._answer.content.readline()).decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: ") and name == kind:
                    return json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def watched(app: App, http: aiohttp.ClientSession, query: str = "") -> AsyncIterator[Events]:
    async with http.get(url(app, f"/events{query}")) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Events(answer)


def mqtt(app: App, **options: Any) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", next(iter(app.listeners)).port, **options)


async def test_a_message(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    async with watched(app, http) as stream, mqtt(app, identifier="lamp", username="ann") as client:
        connected = await stream.next("client")
        assert (connected["client"], connected["connected"], connected["username"]) == ("lamp", True, "ann")
        await client.publish("room/light", "an\nevent: x\n\nö", qos=1, retain=True)
        message = await stream.next()
        del message["at"]
        assert message == {
            "topic": "room/light",
            "client": "lamp",
            "username": "ann",
            "qos": 1,
            "retain": True,
            "size": 15,
            "payload": "an\nevent: x\n\nö",
        }


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"\xff\x00", {"payload": "/wA=", "binary": True}),
        (b"", {"payload": ""}),
        (b"x" * PAYLOAD_SHOWN + b"y", {"payload": "x" * PAYLOAD_SHOWN}),
        (b"x" * (PAYLOAD_SHOWN - 1) + "ö".encode(), {"payload": "x" * (PAYLOAD_SHOWN - 1)}),
    ],
)
async def test_payloads(
    serve: Serve, http: aiohttp.ClientSession, payload: bytes, shown: dict[str, Any]
) -> None:
    app = await serve()
    async with watched(app, http) as stream, mqtt(app) as client:
        await client.publish("a", payload)
        message = await stream.next()
        assert message["size"] == len(payload)
        assert {key: message[key] for key in ("payload", "binary") if key in message} == shown


@pytest.mark.parametrize("query", ["?topic=b/%23", "?client=wanted", "?text=needle"])
async def test_what_is_not_asked_for_is_not_sent(
    serve: Serve, http: aiohttp.ClientSession, query: str
) -> None:
    app = await serve()
    async with watched(app, http, query) as stream:
        async with mqtt(app, identifier="other") as client:
            await client.publish("a", "hay", qos=1)
        async with mqtt(app, identifier="the-wanted") as client:
            await client.publish("b/c", "a needle", qos=1)
        assert (await stream.next())["payload"] == "a needle"


async def test_a_filter_that_is_none(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    async with http.get(url(app, "/events?topic=a%23")) as answer:
        assert answer.status == 400
        assert "whole last level" in (await answer.json())["message"]


async def test_watchers_are_bounded_and_let_go(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve("max_streams = 3")
    feed = app.rest._served.feed
    streams = [await http.get(url(app, "/events")) for _ in range(3)]
    async with http.get(url(app, "/events")) as answer:
        assert answer.status == 503
        assert "http_server.max_streams = 3" in (await answer.json())["message"]
    for stream in streams:
        stream.close()
    await until(lambda: not feed.readers)
    assert app.engine.hooks.message_published == ()


@pytest.fixture
def many_files() -> Iterator[None]:
    """A thousand connections have two ends each in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"this process may open {hard} files only; see ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
async def test_a_thousand_who_want_to_watch(serve: Serve) -> None:
    app = await serve("limit_conn = 2000")
    feed = app.rest._served.feed
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, mqtt(app) as client:
        streams = await asyncio.gather(*(session.get(url(app, "/events?topic=a")) for _ in range(1000)))
        taken = [stream for stream in streams if stream.status == 200]
        assert len(taken) == feed.readers == 16
        assert {stream.status for stream in streams} == {200, 503}
        await client.publish("a", "x", qos=1)
        for stream in taken:
            assert (await Events(stream).next())["payload"] == "x"
    await until(lambda: not feed.readers)


@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
async def test_a_thousand_who_may_watch(serve: Serve) -> None:
    app = await serve("limit_conn = 2000\nmax_streams = 1000")
    feed = app.rest._served.feed
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, mqtt(app) as client:
        streams = await asyncio.gather(*(session.get(url(app, "/events?topic=a")) for _ in range(1000)))
        assert feed.readers == 1000
        await client.publish("a", "x", qos=1)
        for stream in streams:
            assert (await Events(stream).next())["payload"] == "x"
    await until(lambda: not feed.readers)


async def test_a_reader_that_reads_nothing_is_let_go(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WRITE_TIMEOUT", 0.05)
    app = await serve()
    feed = app.rest._served.feed
    _, writer = await asyncio.open_connection("127.0.0.1", app.rest.port, limit=1)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await until(lambda: feed.readers)
    async with mqtt(app) as client, asyncio.timeout(DEADLINE):
        while feed.readers:
            await client.publish("a", bytes(PAYLOAD_SHOWN), qos=1)
    writer.close()


async def test_a_stop_ends_the_streams(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    async with watched(app, http) as stream:
        async with asyncio.timeout(DEADLINE):
            await app.stop(0)
            assert await stream._answer.content.read() is not None
