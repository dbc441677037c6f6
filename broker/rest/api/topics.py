"""`/topic-tree` and `/routes`: the topic filters, level by level and as a list."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from aiohttp import web

from ..answers import data
from ..calls import Call, Route, Where
from ..listing import AT_ONCE, listing
from ..served import NODE

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
    for number, session in enumerate(call.served.engine.sessions):
        for topic_filter in list(session.subscriptions):
            level = root
            for name in topic_filter.split("/"):
                level = level.below.setdefault(name, _Level())
            level.clients.append(session.client_id)
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    return data(await _levels(root))


async def _levels(root: _Level) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    depth = [("", root)]
    while depth:
        found.append([_element(name, level) for name, level in depth])
        depth = [below for _, level in depth for below in level.ordered()]
        await asyncio.sleep(0)
    return [*found, []]


async def _one_tree(call: Call, trees: Sequence[list[list[dict[str, Any]]]]) -> web.Response:
    """Join several trees. An array has the levels below the first element of the array before it, then those
    below the second, and so on; ``cld_cnt`` of an element is their number."""
    root = _Level()
    for tree in trees:
        above = [root]
        for depth, elements in enumerate(tree):
            if depth:
                parents = chain.from_iterable(
                    [level] * element["cld_cnt"]
                    for level, element in zip(above, tree[depth - 1], strict=True)
                )
                above = [
                    parent.below.setdefault(element["topic"], _Level())
                    for parent, element in zip(parents, elements, strict=True)
                ]
            for level, element in zip(above, elements, strict=True):
                level.clients += element.get("clientid", ())
            await asyncio.sleep(0)
    return data(await _levels(root))


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
