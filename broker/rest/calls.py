"""One request, as the resources see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from aiohttp import web

from .answers import Code, Refused
from .served import Served

BODY_TIMEOUT = 10.0
"""Seconds that a request may take to send its body."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose sender may make it."""

    served: Served
    request: web.BaseRequest
    arguments: tuple[str, ...]
    """The values of the ``:NAME`` segments of the route, percent-decoded."""

    async def object(self) -> dict[str, Any]:
        """The JSON object in the body. Raises Refused."""
        found = await self.json()
        if not isinstance(found, dict):
            raise Refused(400, Code.BAD_BODY, "the body is not a JSON object")
        return found

    async def body(self) -> bytes:
        """Raises Refused if the body does not arrive in time."""
        try:
            return await asyncio.wait_for(self.request.read(), BODY_TIMEOUT)
        except TimeoutError:
            raise Refused(408, Code.BAD_BODY, f"the body did not come within {BODY_TIMEOUT:g} s") from None

    async def json(self) -> Any:
        """The JSON in the body. Raises Refused."""
        body = await self.body()
        try:
            return DECODER.raw_decode(body.decode().lstrip())[0]
        except (ValueError, RecursionError):
            raise Refused(400, Code.BAD_BODY, "the body is not JSON") from None


def _first_counts(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_first_counts)
"""Parses JSON as NanoMQ does: of a repeated key the first value counts, and text after the value is
ignored."""


Handler: TypeAlias = Callable[[Call], Awaitable[web.StreamResponse]]
Join: TypeAlias = Callable[[Call, Sequence[Any]], Awaitable[web.StreamResponse]]
"""Makes one answer of the ``data`` of all workers' answers, in the order of the workers."""


class Where(Enum):
    """Which of the processes of a broker answer a request."""

    HERE = "the one that serves HTTP: all know the same"
    OWNER = "the one that has the client that the path names first"
    OWNER_IN_BODY = "the one that has the client that the body names"
    OWNERS_IN_BODY = "for each object of the array in the body, the one that has the client that it names"
    ALL = "all of them; their answers are joined"
    NAMED = "the one that the query names as `worker`, or all of them"
    EACH = "all of them do it"


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    """Below the prefix; ``:NAME`` stands for any one segment."""
    handler: Handler
    name: str
    """NanoMQ's name of the call, as `GET /api/v4` lists it."""
    summary: str
    changes: bool = False
    """Whether it changes something: users who may only read are refused."""
    where: Where = Where.HERE
    join: Join | None = None
    """Where all are asked; None puts their lists one after another."""
    patience: float = 10.0
    """Seconds that a worker may take to answer."""
