"""The HTTP server: connections, limits, and the routing of a request to its resource."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any, cast

from aiohttp import web

from ..bad_requests import server_logger
from ..config.settings import HttpServerSettings
from .access import SECURITY_HEADERS, Gate
from .answers import Code, Refused, refusal
from .api import ROUTES
from .calls import Call
from .page.assets import asset
from .page.events import EVENTS, watch
from .prometheus import CONTENT_TYPE, exposition
from .routes import PREFIX, Routes
from .served import Served

log = server_logger("pybroker.rest")

HEAD_TIMEOUT = 10.0
"""Seconds that a new connection may take to send the head of its first request."""
KEPT_FOR = 75.0
"""Seconds that a connection may be idle between two requests."""
METRICS = "/metrics"
STOP_TIMEOUT = 1.0
FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Server:
    """Serves one broker on the sockets that it is given."""

    def __init__(
        self, served: Served, settings: HttpServerSettings, gate: Gate, *, private: bool = False
    ) -> None:
        """``private``: asked by other processes of this broker, about this one alone."""
        self._served = served
        self._private = private
        self._routes = Routes(ROUTES)
        self._stopping = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._patience: dict[Any, asyncio.TimerHandle] = {}
        """The connections that have not sent the head of a request yet, and when they are closed."""
        self._web = web.Server(
            cast("Any", self._answer),
            request_factory=self._request,
            handler_cancellation=True,
            keepalive_timeout=KEPT_FOR,
            access_log=None,
            logger=log,
        )
        self.use(settings, gate)

    def use(self, settings: HttpServerSettings, gate: Gate) -> None:
        """Use other credentials and limits from now on."""
        self._settings = settings
        self._gate = gate

    async def listen(self, sockets: list[socket.socket], tls: SSLContext | None = None) -> None:
        loop = asyncio.get_running_loop()
        for one in sockets:
            self._servers.append(await loop.create_server(self._connect, sock=one, ssl=tls))

    async def close(self) -> None:
        self._stopping.set()
        self._served.feed.wake()
        for server in self._servers:
            server.close()
        for timer in self._patience.values():
            timer.cancel()
        await self._web.shutdown(STOP_TIMEOUT)

    # ---- connections

    def _connect(self) -> asyncio.Protocol:
        if len(self._web.connections) >= self._settings.limit_conn:
            return _Full()
        connection = self._web()
        loop = asyncio.get_running_loop()
        self._patience[connection] = loop.call_later(HEAD_TIMEOUT, self._give_up, connection)
        return connection

    def _give_up(self, connection: Any) -> None:
        del self._patience[connection]
        connection.force_close()

    def _request(
        self, message: Any, payload: Any, connection: Any, writer: Any, task: asyncio.Task[None]
    ) -> web.BaseRequest:
        """The head of a request was received."""
        if (timer := self._patience.pop(connection, None)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        limit = self._settings.max_body
        return web.BaseRequest(message, payload, connection, writer, task, loop, client_max_size=limit)

    # ---- requests

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response: web.StreamResponse
        headers = SECURITY_HEADERS | self._gate.cors(request)
        try:
            if (preflight := self._gate.preflight(request)) is not None:
                return web.Response(status=204, headers=headers | preflight)
            may_change = self._gate.check(request)
            response = await self._dispatch(request, may_change, headers)
        except Refused as refused:
            response = refusal(refused)
            if refused.status == 408:
                response.force_close()
            if refused.status == 401 and not _is_api(request) and self._settings.auth_type == "basic":
                response.headers["WWW-Authenticate"] = 'Basic realm="pybroker", charset="UTF-8"'
        except web.HTTPRequestEntityTooLarge:
            limit = self._settings.max_body
            response = refusal(Refused(413, Code.BAD_BODY, f"the body is larger than {limit} bytes"))
            response.force_close()
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("the request %s %s failed", request.method, request.path)
            response = refusal(Refused(500, Code.RPC_ERROR, "the broker has failed; see its log"))
        if not response.prepared:
            response.headers.update(headers)
        return response

    async def _dispatch(
        self, request: web.BaseRequest, may_change: bool, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if _is_api(request):
            route, arguments = self._routes.find(request.method, path.removeprefix(PREFIX))
            if route.changes and not may_change:
                raise Refused(403, Code.BAD_REQUEST, "these credentials may only read")
            call = Call(self._served, request, arguments)
            if self._served.workers is not None and not self._private:
                return await self._served.workers.answer(route, call)
            return await route.handler(call)
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, Code.UNKNOWN_MISTAKE)
        if path == METRICS:
            text = exposition(self._served).encode()
            return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})
        if path == EVENTS:
            call = Call(self._served, request, ())
            workers = self._served.workers
            others = workers.others if workers is not None and not self._private else {}
            return await watch(call, self._settings.max_streams, self._stopping, headers, others)
        return asset(path)


def _is_api(request: web.BaseRequest) -> bool:
    path = request.rel_url.raw_path
    return path == PREFIX or path.startswith(PREFIX + "/")


class _Full(asyncio.Protocol):
    """Tells a client that `http_server.limit_conn` others are connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast("asyncio.Transport", transport)
        connection.write(FULL)
        connection.close()
