"""Endpoints that live in memory, for tests: what would be posted is recorded, and answered as the test says.

recorder = Recorder()
sink = Sink(settings, transport=recorder)
...
recorder.requests[0].json["topic"]
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pybroker.broker.outgoing.http import Answer, NoAnswerError
from pybroker.webhook.http.transport import Request, Transport
from pybroker.webhook.settings import WebhookSettings

Reply = int | Answer | Exception | Callable[["Recorded"], "Reply | Awaitable[Reply]"]
"""A status, a whole answer, an exception in place of one, or a function that gives any of these."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One try."""

    endpoint: str
    """The endpoint's name."""
    url: str
    headers: Mapping[str, str]
    """By lower-case names."""
    body: bytes
    """Without its content encoding."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        """The same on every try."""
        return self.headers["webhook-id"]


class Recorder:
    """Makes transports that record. ``replies`` are used up one a try; then ``default`` answers."""

    def __init__(self, default: Reply = 200) -> None:
        self.requests: list[Recorded] = []
        """Every try, oldest first."""
        self.replies: list[Reply] = []
        self.default = default

    def __call__(self, settings: WebhookSettings) -> Transport:
        return _Recording(self, settings)

    def of(self, endpoint: str) -> list[Recorded]:
        """The tries of one endpoint."""
        return [request for request in self.requests if request.endpoint == endpoint]

    async def _answer(self, recorded: Recorded) -> Answer:
        reply = self.replies.pop(0) if self.replies else self.default
        while callable(reply):
            given = reply(recorded)
            reply = await given if isinstance(given, Awaitable) else given
        if isinstance(reply, Exception):
            raise reply if isinstance(reply, NoAnswerError) else NoAnswerError(str(reply)) from reply
        return Answer(reply) if isinstance(reply, int) else reply


class _Recording:
    def __init__(self, recorder: Recorder, settings: WebhookSettings) -> None:
        self._recorder = recorder
        self._settings = settings

    async def post(self, request: Request) -> Answer:
        body = request.body
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        recorded = Recorded(self._settings.name, self._settings.url, dict(request.headers), body)
        self._recorder.requests.append(recorded)
        return await self._recorder._answer(recorded)

    async def close(self) -> None:
        """Nothing is open."""
