"""The stream of events that the page shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import aiomqtt
import pytest

from pybroker.broker.app import App
from pybroker.broker.rest.page.events import MAX_WATCHERS, PAYLOAD_SHOWN

from .conftest import DEADLINE, Serve, url


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
    async with watched(app, http) as events, mqtt(app, identifier="lamp", username="ann") as client:
        connected = await events.next("client")
        assert (connected["client"], connected["connected"], connected["username"]) == ("lamp", True, "ann")
        await client.publish("room/light", "an\nevent: x\n\nö", qos=1, retain=True)
        message = await events.next()
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
    async with watched(app, http) as events, mqtt(app) as client:
        await client.publish("a", payload)
        message = await events.next()
        assert message["size"] == len(payload)
        assert {key: message[key] for key in ("payload", "binary") if key in message} == shown


@pytest.mark.parametrize("query", ["?topic=b/%23", "?client=wanted", "?text=needle"])
async def test_what_is_not_asked_for_is_not_sent(
    serve: Serve, http: aiohttp.ClientSession, query: str
) -> None:
    app = await serve()
    async with watched(app, http, query) as events:
        async with mqtt(app, identifier="other") as client:
            await client.publish("a", "hay", qos=1)
        async with mqtt(app, identifier="the-wanted") as client:
            await client.publish("b/c", "a needle", qos=1)
        assert (await events.next())["payload"] == "a needle"


async def test_a_filter_that_is_none(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    async with http.get(url(app, "/events?topic=a%23")) as answer:
        assert answer.status == 400
        assert "whole last level" in (await answer.json())["message"]


async def test_watchers_are_bounded_and_let_go(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    feed = app.rest._served.feed
    streams = [await http.get(url(app, "/events")) for _ in range(MAX_WATCHERS)]
    async with http.get(url(app, "/events")) as answer:
        assert answer.status == 503
    for stream in streams:
        stream.close()
    async with asyncio.timeout(DEADLINE):
        while feed.readers:
            await asyncio.sleep(0.01)
    assert app.engine.hooks.message_published == ()


async def test_a_stop_ends_the_streams(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    async with watched(app, http) as events:
        async with asyncio.timeout(DEADLINE):
            await app.stop(0)
            assert await events._answer.content.read() is not None
