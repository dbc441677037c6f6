"""POSTs to one endpoint."""

from __future__ import annotations

import ssl

from pybroker.broker.outgoing.http import Answer, Connections, NoAnswerError
from pybroker.broker.outgoing.http1 import request_head

from ..settings import WebhookSettings
from .transport import Request


class Posts:
    """A Transport over kept-alive connections."""

    def __init__(self, settings: WebhookSettings, tls: ssl.SSLContext | None = None) -> None:
        """``tls`` is for an ``https://`` URL."""
        self._connections = Connections(settings.url, tls)
        self._target = f"POST {self._connections.target}"
        self._own_headers = self._connections.headers
        if any(name.lower() == "host" for name, _ in settings.headers):
            del self._own_headers[0]

    async def post(self, request: Request) -> Answer:
        headers = [*self._own_headers, *request.headers.items()]
        try:
            head = request_head(self._target + request.below, headers, len(request.body))
        except ValueError as error:
            raise NoAnswerError(str(error)) from error
        return await self._connections.exchange(head + request.body)

    async def close(self) -> None:
        await self._connections.close()
