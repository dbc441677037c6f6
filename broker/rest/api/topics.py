"""`/topic-tree` and `/routes`: the topic filters, level by level and as a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import Any, TypeVar

from aiohttp import web

from ..calls import Call, Route, Where
from ..listing import AT_ONCE, HEAD, TAIL, listing
from ..served import NODE

T = TypeVar("T")

WILDCARDS = {"+": 0, "#": 1}


class _Level:
    """One level of topic filters: the levels below it, and the subscribers of the filter that ends here."""

    __slots__ = ("below", "clients")

    def __init__(self) -> None:
        self.below: dict[str, _Level] = {}
        self.clients: list[str] = []

    def ordered(self) -> list[tuple[str, _Level]]:
        """Wildcards first, as NanoMQ has them."""
        return sorted(self.below.items(), key=lambda item: (WILDCARDS.get(item[0], 2), item[0]))


async def topic_tree(call: Call) -> web.Response:
    """An array for each depth; a parent cannot be told from it, as with NanoMQ."""
    root = _Level()
    async for session in _in_turns(call.served.engine.sessions):
        for topic_filter in list(session.subscriptions):
            level = root
            for name in topic_filter.split("/"):
                level = level.below.setdefault(name, _Level())
            level.clients.append(session.client_id)
    return await _written(root)


async def _written(root: _Level) -> web.Response:
    arrays: list[str] = []
    depth = [("", root)]
    while depth:
        elements: list[str] = []
        below: list[tuple[str, _Level]] = []
        async for name, level in _in_turns(depth):
            elements.append(json.dumps(_element(name, level), ensure_ascii=False, separators=(",", ":")))
            below += level.ordered()
        arrays.append(f"[{','.join(elements)}]")
        depth = below
    body = f"{HEAD}{','.join([*arrays, '[]'])}{TAIL}"
    return web.Response(body=body.encode(), content_type="application/json")


async def _one_tree(call: Call, trees: Sequence[list[list[dict[str, Any]]]]) -> web.Response:
    """One tree of several. An array has the levels below the first element of the array before it, then those
    below the second, and so on; ``cld_cnt`` of an element is their number."""
    root = _Level()
    for tree in trees:
        levels = [root]
        for elements, next_elements in pairwise(tree):
            below: list[_Level] = []
            children = iter(next_elements)
            async for level, element in _in_turns(zip(levels, elements, strict=True)):
                level.clients += element.get("clientid", ())
                for child in islice(children, element["cld_cnt"]):
                    below.append(level.below.setdefault(child["topic"], _Level()))
            levels = below
    return await _written(root)


async def _in_turns(elements: Iterable[T]) -> AsyncIterator[T]:
    """The same, with a turn of the event loop for others after each few."""
    for number, element in enumerate(elements):
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        yield element


def _element(name: str, level: _Level) -> dict[str, Any]:
    found: dict[str, Any] = {"topic": name, "cld_cnt": len(level.below)}
    if level.clients:
        found["clientid"] = sorted(level.clients)
    return found


def _filters(call: Call) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for session in call.served.engine.sessions:
        for topic_filter in list(session.subscriptions):
            if topic_filter not in seen:
                seen.add(topic_filter)
                yield {"topic": topic_filter, "node": NODE}


async def routes(call: Call) -> web.Response:
    return await listing(call.request.rel_url.query, _filters(call))


async def _each_once(call: Call, lists: Sequence[list[dict[str, Any]]]) -> web.Response:
    found = {element["topic"]: element for element in chain.from_iterable(lists)}
    return await listing(call.request.rel_url.query, found.values())


ROUTES = (
    Route(
        "GET",
        "/topic-tree",
        topic_tree,
        "list_topic-tree",
        "The topic filters, level by level",
        where=Where.ALL,
        join=_one_tree,
    ),
    Route(
        "GET",
        "/routes",
        routes,
        "list_routes",
        "Each topic filter that somebody has subscribed to",
        where=Where.ALL,
        join=_each_once,
    ),
)
