"""HTTP requests over kept-alive connections.

aiohttp's client creates a request object, a writer and a stream for every POST, which costs more than the
rest of a delivery. It also does not bound how many interim answers a server may send. Here a request is one
write and one future, and `http1` reads the answer.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote, urlsplit

from ..printable import not_reached
from .http1 import AnswerReader, BadAnswerError

KEPT_FOR = 15.0
"""Seconds that a connection may be idle. Servers and proxies close or forget idle connections."""


@dataclass(slots=True)
class Answer:
    """An answer. ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    """At most 64 KiB of the body; empty if the answer was a success."""


class NoAnswerError(Exception):
    """The request got no answer. The message says why in a few words, and contains no secret."""


class _StaleError(Exception):
    """The server closed a kept connection before it answered anything, so the request may be sent again. The
    message says why, if that is known."""


class Connections:
    """The connections to the server of one URL. There are at most as many as concurrent callers. A caller
    bounds each request in time by cancelling it."""

    def __init__(
        self, url: str, tls: ssl.SSLContext | None = None, connect_timeout: float | None = None
    ) -> None:
        """``tls`` is for an ``https://`` URL; ``connect_timeout`` is seconds."""
        self._connect_timeout = connect_timeout
        parts = urlsplit(url)
        self._tls = tls
        self._host, self._port = parts.hostname or "", parts.port or (443 if tls else 80)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._where = f"{host}:{self._port}"
        self.target = _encoded((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        """Path and query, as a request names them."""
        self.headers: list[tuple[str, str]] = [("Host", parts.netloc.rpartition("@")[2])]
        """The headers that follow from the URL, ``Host`` first."""
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.headers.append(("Authorization", "Basic " + b64encode(user.encode()).decode()))
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def exchange(self, request: bytes) -> Answer:
        """Send a whole request and wait for its answer. Raises NoAnswerError."""
        while connection := self._kept():
            try:
                return await connection.exchange(request)
            except _StaleError:
                continue
        connection = await self._connect()
        try:
            return await connection.exchange(request)
        except _StaleError as error:
            why = f": {error}" if str(error) else ""
            raise NoAnswerError(f"the connection was closed without an answer{why}") from None

    async def close(self) -> None:
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    def _kept(self) -> _Connection | None:
        """A kept connection that is still open; None if there is none."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since < KEPT_FOR:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(self._idle, self._open), self._host, self._port, ssl=self._tls
                )
        except TimeoutError as error:
            raise NoAnswerError(f"{self._where} cannot be reached in time") from error
        except ssl.SSLCertVerificationError as error:
            raise NoAnswerError(f"certificate not accepted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise NoAnswerError(f"no TLS connection: {error.reason or error}") from error
        except OSError as error:
            raise NoAnswerError(not_reached(error, self._where)) from error
        return connection


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, idle: list[_Connection], open: set[_Connection]) -> None:
        self._idle = idle
        self._open = open
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, data: bytes) -> Answer:
        """Send a request and wait for its answer. Raises NoAnswerError, or _StaleError where none began."""
        if self._transport is None:
            raise _StaleError
        loop = asyncio.get_running_loop()
        self._reader = AnswerReader()
        self._answer = loop.create_future()
        self._transport.write(data)
        try:
            answer = await self._answer
        except BaseException:
            self.abort()
            raise
        if self._reader.reusable:
            self.idle_since = loop.time()
            self._idle.append(self)
        elif self._transport is not None:
            self._transport.close()
        return answer

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done() or self._reader is None:
            self.abort()  # nobody asked
            return
        try:
            self._reader.feed(data)
        except BadAnswerError as error:
            self._answer.set_exception(NoAnswerError(f"the answer is invalid: {error}"))
            return
        if self._reader.complete:
            self._answer.set_result(_answer_of(self._reader))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._open.discard(self)
        if self._answer is None or self._answer.done() or self._reader is None:
            return
        if error is None:
            self._reader.closed()
        if self._reader.complete:
            self._answer.set_result(_answer_of(self._reader))
        elif self._reader.begun:
            self._answer.set_exception(NoAnswerError("the connection was lost in the middle of the answer"))
        else:
            self._answer.set_exception(_StaleError(str(error or "")))


def _answer_of(reader: AnswerReader) -> Answer:
    if reader.status < 300:
        return Answer(reader.status, body=bytes(reader.body)) if reader.body else Answer(reader.status)
    return Answer(reader.status, reader.headers, bytes(reader.body))


def _encoded(path: str) -> str:
    """Spaces, control characters and what is not ASCII as a target may carry it; the rest as it stands."""
    return "".join(c if 32 < ord(c) < 127 else "".join(f"%{byte:02X}" for byte in c.encode()) for c in path)
