"""Requests to an HTTP server whose answer is a status. Equal requests are sent once at a time, and answers
are cached."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import ssl
from collections.abc import Awaitable
from urllib.parse import urlencode

from pybroker.webhook.settings import TlsClient

from ..clock import Clock
from ..config.settings import HttpAuthSettings, HttpRequestSettings
from ..engine.access import UnavailableError
from ..outgoing.http import Connections, NoAnswerError
from ..outgoing.http1 import request_head
from ..outgoing.tls import TlsError, client_context
from ..outgoing.urls import shown_url
from .errors import AccessError

log = logging.getLogger("pybroker.access")

MAX_REMEMBERED = 65_536
"""The most answers that are kept. When there are more, all are forgotten."""

Params = tuple[tuple[str, str], ...]


class HttpClient:
    """Asks for `auth.http_auth`. Raises AccessError where its certificates cannot be used."""

    def __init__(self, settings: HttpAuthSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._connections = {
            name: _connections(name, request, settings.connect_timeout)
            for name in ("auth_req", "super_req", "acl_req")
            if (request := getattr(settings, name)) is not None
        }
        self._room = asyncio.Semaphore(settings.pool_size)
        self._under_way: dict[bytes, asyncio.Task[int]] = {}
        self._known: dict[bytes, tuple[float, int]] = {}
        """The time at which an answer expires, and the answer."""
        self._secret = secrets.token_bytes(16)
        self._down: dict[str, int] = {}
        """The requests whose last try was not answered, and the number of such tries."""

    def ask(self, name: str, request: HttpRequestSettings, params: Params) -> int | Awaitable[int]:
        """The status with which the server answers the request ``name``. A known answer is returned at once;
        otherwise await it. Raises UnavailableError if no answer comes in time, or if it says that the server
        has failed."""
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
        """Close all connections. Requests under way are given up; with ``finish`` they are waited for."""
        while self._under_way:  # an answer may lead to the next question
            under_way = list(self._under_way.values())
            if not finish:
                for task in under_way:
                    task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        for connections in self._connections.values():
            await connections.close()

    def _key(self, name: str, params: Params) -> bytes:
        """The key of an answer. It contains only a hash of the parameters, which may have a password."""
        return hashlib.blake2b(repr((name, params)).encode("utf-8", "replace"), key=self._secret).digest()

    def _finished(self, key: bytes, task: asyncio.Task[int]) -> None:
        self._under_way.pop(key, None)
        if task.cancelled() or task.exception() is not None or not self._settings.cache_ttl:
            return
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = (self._clock.monotonic() + self._settings.cache_ttl, task.result())

    async def _fetch(self, name: str, request: HttpRequestSettings, params: Params) -> int:
        settings, connections = self._settings, self._connections[name]
        try:
            async with asyncio.timeout(settings.timeout), self._room:
                status = (await connections.exchange(_message(request, params, connections))).status
            if status < 500 and status not in (408, 429):
                self._answered(name)
                return status
            trouble = f"status {status}"
        except TimeoutError:
            trouble = f"no answer in {settings.timeout:g} s"
        except (NoAnswerError, ValueError) as error:
            trouble = str(error)
        self._failed(name, request.url, trouble)
        raise UnavailableError

    def _failed(self, name: str, url: str, trouble: object) -> None:
        self._down[name] = self._down.get(name, 0) + 1
        if self._down[name] == 1:
            log.error(
                "auth.http_auth.%s: %s fails: %s; clients are refused until it answers",
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


def _message(request: HttpRequestSettings, params: Params, connections: Connections) -> bytes:
    """The whole request: a query, a form or, if the headers say so, JSON. Raises ValueError for an invalid
    header."""
    headers = [("User-Agent", "pybroker"), ("Accept", "*/*"), *request.headers]
    named = {name.lower(): value for name, value in headers}
    headers = [pair for pair in connections.headers if pair[0].lower() not in named] + headers
    target = connections.target
    if request.method == "get":
        if params:
            target += f"{'&' if '?' in target else '?'}{urlencode(params)}"
        return request_head(f"GET {target}", headers, 0)
    if named.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        body = json.dumps(dict(params)).encode()
    else:
        body = urlencode(params).encode()
        if "content-type" not in named:
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    return request_head(f"POST {target}", headers, len(body)) + body


def _connections(name: str, request: HttpRequestSettings, timeout: float) -> Connections:
    secure = request.url.lower().startswith("https:")
    return Connections(request.url, _context(name, request.tls) if secure else None, timeout)


def _context(name: str, files: TlsClient | None) -> ssl.SSLContext:
    try:
        return client_context(files, f"auth.http_auth.{name}.tls")
    except TlsError as error:
        raise AccessError(str(error)) from None
