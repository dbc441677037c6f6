"""Requests about a broker of several processes: the first one serves HTTP, and asks those that know.

Each worker has a server of its own at a unix socket that only workers can reach. It gets the request, and
answers about its process alone. The answers are joined here. An answer is bounded in bytes and in time, and
the worker that does not answer is named.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from .answers import Code, Refused, as_json
from .calls import Call, Route, Where
from .listing import listing, page_of, put_together

MOST_BYTES = 64 << 20
"""Of one worker's answer."""
PAGES = ("_page", "_limit")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    @property
    def response(self) -> web.Response:
        return web.Response(status=self.status, body=self.body, content_type="application/json")

    @property
    def data(self) -> Any:
        return json.loads(self.body).get("data")


class Workers:
    """All of them, this one too."""

    def __init__(self, owner_of: Callable[[str], int], paths: Sequence[Path], index: int) -> None:
        """``owner_of`` a client identifier is an index into ``paths``, where the workers' servers are;
        ``index`` is ours."""
        self._owner_of = owner_of
        self.paths = paths
        self.index = index

    @property
    def others(self) -> dict[int, Path]:
        """The numbers of the others, for people, and where their servers are."""
        return {index + 1: path for index, path in enumerate(self.paths) if index != self.index}

    async def answer(self, route: Route, call: Call) -> web.StreamResponse:
        """What the workers that are concerned answer. Raises Refused where one does not."""
        match route.where:
            case Where.HERE:
                return await route.handler(call)
            case Where.OWNER:
                return await self._answer_of(self._owner_of(call.arguments[0]), route, call)
            case Where.OWNER_IN_BODY:
                return await self._answer_of(self._owner_of(_client_of(await call.json())), route, call)
            case Where.OWNERS_IN_BODY:
                return await self._by_owners(route, call)
            case Where.EACH:
                return await self._do_everywhere(route, call)
            case Where.ALL:
                return await self._join_all(route, call)
            case Where.NAMED:
                worker = self._named(call.request.rel_url.query)
                if worker is None:
                    return await self._join_all(route, call)
                return await self._answer_of(worker, route, call)

    async def _answer_of(self, worker: int, route: Route, call: Call) -> web.StreamResponse:
        if worker == self.index:
            return await route.handler(call)
        return (await self._ask(worker, route, call)).response

    def _named(self, query: Mapping[str, str]) -> int | None:
        """The worker of the query; None where all are meant. Raises Refused."""
        text, count = query.get("worker"), len(self.paths)
        if text is None:
            if query.get("number"):
                why = "number: each worker has numbers of its own, so name the worker too: worker=2&number=5"
                raise Refused(400, Code.BAD_REQUEST, why)
            return None
        if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= count):
            raise Refused(400, Code.BAD_REQUEST, f'worker: "{text}" is not a number from 1 to {count}')
        return int(text) - 1

    async def _by_owners(self, route: Route, call: Call) -> web.StreamResponse:
        """Each member of the array is for the worker of its client; the answers keep the order."""
        members = await call.json()
        if not isinstance(members, list):
            return await route.handler(call)  # which says what is wrong
        shares: dict[int, list[int]] = {}
        for position, member in enumerate(members):
            shares.setdefault(self._owner_of(_client_of(member)), []).append(position)
        if not shares:
            return await route.handler(call)

        async def share(worker: int, positions: list[int]) -> Answer:
            some = json.dumps([members[position] for position in positions], ensure_ascii=False)
            return await self._ask(worker, route, call, body=some.encode(errors="surrogatepass"))

        answers = await asyncio.gather(*(share(*one) for one in shares.items()))
        found: list[Any] = [None] * len(members)
        for answer, positions in zip(answers, shares.values(), strict=True):
            if answer.status >= 300:
                return answer.response
            for position, element in zip(positions, answer.data, strict=True):
                found[position] = element
        return as_json({"data": found, "code": Code.SUCCESS})

    async def _do_everywhere(self, route: Route, call: Call) -> web.StreamResponse:
        """Here first: what is refused here is done nowhere."""
        response = await route.handler(call)
        if response.status < 300:
            others = [worker for worker in range(len(self.paths)) if worker != self.index]
            for answer in await self._ask_all(others, route, call):
                if answer.status >= 300:
                    return answer.response
        return response

    async def _join_all(self, route: Route, call: Call) -> web.StreamResponse:
        query = call.request.rel_url.query
        page, limit = page_of(query)
        own = {key: value for key, value in query.items() if key not in PAGES}
        if limit and route.join is None:
            own |= {"_page": "1", "_limit": str(page * limit)}  # more of each cannot be on this page
        answers = await self._ask_all(range(len(self.paths)), route, call, query=own)
        for answer in answers:
            if answer.status >= 300:
                return answer.response
        if route.join is not None:
            return await route.join(call, [answer.data for answer in answers])
        if not limit:
            return put_together([answer.body for answer in answers])
        pages = [json.loads(answer.body) for answer in answers]
        count = sum(one["meta"]["count"] for one in pages)
        return await listing(query, (element for one in pages for element in one["data"]), count)

    async def _ask_all(
        self, workers: Iterable[int], route: Route, call: Call, *, query: Mapping[str, str] | None = None
    ) -> list[Answer]:
        return list(
            await asyncio.gather(*(self._ask(worker, route, call, query=query) for worker in workers))
        )

    async def _ask(
        self,
        worker: int,
        route: Route,
        call: Call,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """The same request, unless ``query`` or ``body`` say otherwise. Raises Refused."""
        request = call.request
        url = URL("http://localhost").join(request.rel_url)
        if query is not None:
            url = url.with_query(query)
        body = await call.body() if body is None else body
        timeout = aiohttp.ClientTimeout(total=route.patience)
        connector = aiohttp.UnixConnector(str(self.paths[worker]))
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(request.method, url, data=body) as response,
            ):
                return Answer(response.status, await _bounded(response))
        except TimeoutError:
            why = f"within {route.patience:g} s"
        except (aiohttp.ClientError, OSError) as error:
            why = f"({error})"
        except _TooLargeError:
            why = f"with less than {MOST_BYTES >> 20} MiB; ask for a part, by _page and _limit"
        raise Refused(503, Code.RPC_ERROR, f"worker {worker + 1} does not answer {why}")


class _TooLargeError(Exception):
    """An answer of more than MOST_BYTES."""


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """Its body. Raises _TooLargeError."""
    parts: list[bytes] = []
    room = MOST_BYTES
    async for part in response.content.iter_any():
        room -= len(part)
        if room < 0:
            raise _TooLargeError
        parts.append(part)
    return b"".join(parts)


def _client_of(wanted: Any) -> str:
    """The client that an object names; empty where it names none."""
    client_id = wanted.get("clientid") if isinstance(wanted, dict) else None
    return client_id if isinstance(client_id, str) else ""
