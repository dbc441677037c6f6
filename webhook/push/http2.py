"""POSTs over HTTP/2, by httpx. APNs requires HTTP/2, FCM supports it. Imported only if one of them is
configured."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from pybroker.broker.outgoing.http import Answer, NoAnswerError

from ..backend import words

MAX_BODY = 64 << 10
"""Bytes of an answer that are read."""
_CONNECTIONS = 8


class Client:
    """Connections to one service. The number of its callers bounds the requests at a time."""

    def __init__(self, tls: ssl.SSLContext, timeout: float) -> None:
        self._tls = tls
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None
        for name in ("httpx", "httpcore", "hpack", "h2"):  # a path may be a device's identifier
            logging.getLogger(name).setLevel(logging.WARNING)

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> Answer:
        """Raises NoAnswerError."""
        if self._client is None:
            limits = httpx.Limits(max_connections=_CONNECTIONS)
            self._client = httpx.AsyncClient(
                http2=True, verify=self._tls, timeout=self._timeout, limits=limits, trust_env=False
            )
        plain = {**headers, "accept-encoding": "identity"}  # a compressed answer could expand without bound
        try:
            async with self._client.stream("POST", url, headers=plain, content=content) as response:
                body = b""
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise NoAnswerError("the answer is too long")
                return Answer(response.status_code, dict(response.headers), body)
        except (httpx.HTTPError, OSError) as error:
            raise NoAnswerError(f"no answer: {words(error)}") from error

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def said(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer; empty if it has none."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
