"""Requests about a broker of several processes: the first one serves HTTP, and asks those that know.

Each worker has a server of its own at a unix socket that only workers can reach; this sends it the request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from .answers import Code, Refused
from .api.overview import CLIENTS
from .calls import Call, Route, Where
from .listing import listing

PATIENCE = 10.0
"""Seconds that a worker may take to answer."""
PAGES = ("_page", "_limit")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    @property
    def response(self) -> web.Response:
        return web.Response(status=self.status, body=self.body, content_type="application/json")


class Workers:
    """All of them, this one too."""

    def __init__(self, owner_of: Callable[[str], int], paths: Sequence[Path]) -> None:
        """``owner_of`` a client identifier is an index into ``paths``, where the workers' servers are. The
        first is ours."""
        self._owner_of = owner_of
        self._paths = paths

    async def answer(self, route: Route, call: Call) -> web.StreamResponse:
        """What the workers that are concerned answer. Raises Refused where one does not."""
        match route.where:
            case Where.HERE:
                return await route.handler(call)
            case Where.OWNER:
                return await self._answer_of(call.arguments[0], route, call)
            case Where.OWNER_IN_BODY:
                wanted = await call.json()
                client_id = wanted.get("clientid") if isinstance(wanted, dict) else None
                return await self._answer_of(client_id if isinstance(client_id, str) else "", route, call)
            case Where.EACH:
                return await self._do_everywhere(route, call)
            case Where.ALL:
                return await self._list_of_all(route, call)
            case Where.ALONE:
                text = f"{route.method} {route.path} takes a broker of one process (system.workers = 1)"
                raise Refused(400, Code.BAD_REQUEST, text)

    async def _answer_of(self, client_id: str, route: Route, call: Call) -> web.StreamResponse:
        owner = self._owner_of(client_id)
        return await route.handler(call) if owner == 0 else (await self._ask(owner, call)).response

    async def _do_everywhere(self, route: Route, call: Call) -> web.StreamResponse:
        """Here first: what is refused here is done nowhere."""
        response = await route.handler(call)
        if response.status < 300:
            for answer in await self._ask_all(range(1, len(self._paths)), call):
                if answer.status >= 300:
                    return answer.response
        return response

    async def _list_of_all(self, route: Route, call: Call) -> web.StreamResponse:
        answers = await self._ask_all(range(len(self._paths)), call)
        for answer in answers:
            if answer.status >= 300:
                return answer.response
        found: Iterable[Any] = (element for answer in answers for element in json.loads(answer.body)["data"])
        if route.path == "/routes":
            found = _each_once(found)
        elif route.path == "/overview/clients":
            found = sorted(found, key=lambda one: one["queued"] + one["inflight"], reverse=True)[:CLIENTS]
        return await listing(call.request.rel_url.query, found)

    async def _ask_all(self, workers: Iterable[int], call: Call) -> list[Answer]:
        return list(await asyncio.gather(*(self._ask(worker, call) for worker in workers)))

    async def _ask(self, worker: int, call: Call) -> Answer:
        request = call.request
        url = URL("http://localhost").join(request.rel_url)
        url = url.with_query([(key, value) for key, value in url.query.items() if key not in PAGES])
        body = await call.body()
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        connector = aiohttp.UnixConnector(str(self._paths[worker]))
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(request.method, url, data=body) as response,
            ):
                return Answer(response.status, await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            text = f"worker {worker + 1} does not answer: {error}"
            raise Refused(503, Code.RPC_ERROR, text) from None


def _each_once(elements: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return {element["topic"]: element for element in elements}.values()
