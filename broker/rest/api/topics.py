"""`/topic-tree` and `/routes`: the topic filters, level by level and as a list."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from ..answers import data
from ..calls import Call, Route, Where
from ..listing import AT_ONCE, listing
from ..served import NODE

WILDCARDS = {"+": 0, "#": 1}


class _Level:
    """One level of a topic filter, what is below it, and who subscribes to what ends here."""

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
    found: list[list[dict[str, Any]]] = []
    depth = [("", root)]
    while depth:
        found.append([_element(name, level) for name, level in depth])
        depth = [below for _, level in depth for below in level.ordered()]
        await asyncio.sleep(0)
    return data([*found, []])


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


ROUTES = (
    Route(
        "GET",
        "/topic-tree",
        topic_tree,
        "list_topic-tree",
        "The topic filters, level by level",
        where=Where.ALONE,
    ),
    Route(
        "GET",
        "/routes",
        routes,
        "list_routes",
        "Each topic filter that somebody has subscribed to",
        where=Where.ALL,
    ),
)
