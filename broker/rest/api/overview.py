"""`/overview`: the numbers of the whole broker, which the page shows every second."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from aiohttp import web

from ...live.numbers import busiest_clients, overview
from ..answers import data
from ..calls import Call, Route, Where

CLIENTS = 200


async def get_overview(call: Call) -> web.Response:
    return data(overview(call.served.engine))


async def get_busiest(call: Call) -> web.Response:
    """The clients, those with the most queued messages first."""
    return data(busiest_clients(call.served.engine, CLIENTS))


async def _busiest_of_all(call: Call, lists: Sequence[list[dict[str, Any]]]) -> web.Response:
    found = sorted(chain.from_iterable(lists), key=lambda one: one["queued"] + one["inflight"], reverse=True)
    return data(found[:CLIENTS])


ROUTES = (
    Route("GET", "/overview", get_overview, "overview", "Counts and counters of the whole broker"),
    Route(
        "GET",
        "/overview/clients",
        get_busiest,
        "busiest_clients",
        "Those with most messages waiting",
        where=Where.ALL,
        join=_busiest_of_all,
    ),
)
