"""A real HTTP server that records what it receives and misbehaves when it is told to."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """``answers`` are used up one a request; then ``default`` answers."""

    tls: ssl.SSLContext | None = None
    requests: list[Received] = field(default_factory=list)
    answers: list[int | Behaviour] = field(default_factory=list)
    default: int | Behaviour = 200
    connections: int = 0
    peers: set[object] = field(default_factory=set)
    port: int = 0

    async def start(self, port: int = 0) -> None:
        self.port = port or self.port
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/hook"

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.peers.add(request.transport.get_extra_info("peername"))
        body = await request.content.read()  # of any size
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(
            Received(
                request.raw_path if hasattr(request, "raw_path") else str(request.rel_url), headers, body
            )
        )
        behaviour = self.answers.pop(0) if self.answers else self.default
        if isinstance(behaviour, int):
            return web.Response(status=behaviour, text="ok" if behaviour < 300 else "not ok")
        return await behaviour(request)


def answer(status: int, text: str = "", **headers: str) -> Behaviour:
    """Answer ``status`` with ``headers`` (underscores stand for dashes)."""

    async def behave(_: web.Request) -> web.Response:
        return web.Response(
            status=status, text=text, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return behave


async def hang(request: web.Request) -> web.Response:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def reset_before_answer(request: web.Request) -> web.Response:
    """Cut the connection off where the answer should come."""
    request.transport.abort()
    return web.Response()


async def reset_in_answer(request: web.Request) -> web.StreamResponse:
    """Cut the connection off in the middle of the answer."""
    request.transport.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nhalf of")
    await asyncio.sleep(0)
    request.transport.abort()
    return web.Response()


async def close_after(request: web.Request) -> web.Response:
    """Answer well, then close the kept-alive connection without announcing it."""
    response = web.Response(text="ok")
    asyncio.get_running_loop().call_soon(request.transport.close)
    return response


def slowly(seconds: float) -> Behaviour:
    async def behave(_: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(text="ok")

    return behave
