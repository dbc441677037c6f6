"""Questions to an HTTP server whose answer is a status: asked once at a time, remembered for a while.

aiohttp is imported when the first question is asked: its import costs more than the rest of the start.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import ssl
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from pybroker.webhook.settings import TlsClient

from ..clock import Clock
from ..config.settings import HttpAuthSettings, HttpRequestSettings
from ..engine.access import UnavailableError
from ..outgoing.tls import TlsError, client_context
from ..outgoing.urls import shown_url
from .errors import AccessError

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger("pybroker.access")

MAX_REMEMBERED = 65_536
"""Answers kept; all are forgotten when there are more."""
MAX_BODY = 1 << 16
"""Of a longer answer the connection is not used again."""

Params = tuple[tuple[str, str], ...]


class HttpClient:
    """Asks for `auth.http_auth`. Raises AccessError where its certificates cannot be used."""

    def __init__(self, settings: HttpAuthSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._tls = {
            name: _context(name, request.tls)
            for name in ("auth_req", "super_req", "acl_req")
            if (request := getattr(settings, name)) is not None and request.url.lower().startswith("https:")
        }
        self._session: aiohttp.ClientSession | None = None
        self._under_way: dict[bytes, asyncio.Task[int]] = {}
        self._known: dict[bytes, tuple[float, int]] = {}
        """Until when an answer is good, and the answer."""
        self._secret = secrets.token_bytes(16)
        self._down: dict[str, int] = {}
        """The requests that were not answered last, and how often so far."""

    def ask(self, name: str, request: HttpRequestSettings, params: Params) -> int | Awaitable[int]:
        """The status that the server answers ``name`` with: at once where it is known. Otherwise await it;
        raises UnavailableError where no answer comes in time, or one that says the server is in trouble."""
        key = self._key(name, params)
        until, status = self._known.get(key, (0.0, 0))
        if until > self._clock.monotonic():
            return status
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.ensure_future(self._fetch(name, request, params))
            task.add_done_callback(lambda done: self._finished(key, done))
        return asyncio.shield(task)

    async def close(self, *, finish: bool = False) -> None:
        """Close all connections; what is under way is given up, or with ``finish`` waited for."""
        while self._under_way:  # an answer may lead to the next question
            under_way = list(self._under_way.values())
            if not finish:
                for task in under_way:
                    task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _key(self, name: str, params: Params) -> bytes:
        """A password among the parameters is not kept as it is."""
        return hashlib.blake2b(repr((name, params)).encode("utf-8", "replace"), key=self._secret).digest()

    def _finished(self, key: bytes, task: asyncio.Task[int]) -> None:
        self._under_way.pop(key, None)
        if task.cancelled() or task.exception() is not None or not self._settings.cache_ttl:
            return
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = (self._clock.monotonic() + self._settings.cache_ttl, task.result())

    async def _fetch(self, name: str, request: HttpRequestSettings, params: Params) -> int:
        import aiohttp

        trouble: object
        try:
            status = await self._status(name, request, params)
            if status < 500 and status not in (408, 429):
                self._answered(name)
                return status
            trouble = f"status {status}"
        except TimeoutError:
            trouble = f"no answer in {self._settings.timeout:g} s"
        except aiohttp.ClientResponseError as error:  # its own text has the whole URL in it
            trouble = f"the answer is not understood: {error.message.partition(':')[0]}"
        except (aiohttp.ClientError, OSError) as error:
            trouble = str(error) or type(error).__name__
        self._failed(name, request.url, trouble)
        raise UnavailableError

    async def _status(self, name: str, request: HttpRequestSettings, params: Params) -> int:
        """The server may close a kept connection just when it is used again: that is no outage."""
        import aiohttp

        async with asyncio.timeout(self._settings.timeout):
            try:
                return await self._send(name, request, params)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                return await self._send(name, request, params)

    async def _send(self, name: str, request: HttpRequestSettings, params: Params) -> int:
        session = self._session or self._open()
        async with session.request(
            request.method,
            request.url,
            headers=dict(request.headers),
            ssl=self._tls.get(name, True),
            allow_redirects=False,
            **_fields(request, params),
        ) as response:
            await response.content.read(MAX_BODY)
            return response.status

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        settings = self._settings
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=settings.pool_size),
            timeout=aiohttp.ClientTimeout(total=settings.timeout, sock_connect=settings.connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self._session

    def _failed(self, name: str, url: str, trouble: object) -> None:
        self._down[name] = self._down.get(name, 0) + 1
        if self._down[name] == 1:
            log.error(
                "auth.http_auth.%s: %s cannot be asked: %s; clients are refused until it can",
                name,
                shown_url(url),
                trouble,
            )

    def _answered(self, name: str) -> None:
        failures = self._down.pop(name, 0)
        if failures:
            log.warning(
                "auth.http_auth.%s: answers again; %d requests were refused meanwhile", name, failures
            )


def _fields(request: HttpRequestSettings, params: Params) -> dict[str, Any]:
    """Query, form or, where the headers say so, JSON."""
    if request.method == "get":
        return {"params": params}
    content_type = next((value for name, value in request.headers if name.lower() == "content-type"), "")
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return {"json": dict(params)}
    return {"data": list(params)}


def _context(name: str, files: TlsClient | None) -> ssl.SSLContext:
    try:
        return client_context(files, f"auth.http_auth.{name}.tls")
    except TlsError as error:
        raise AccessError(str(error)) from None
