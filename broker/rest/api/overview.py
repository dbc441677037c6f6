"""`/overview`: the numbers of the whole broker, which the page shows every second."""

from __future__ import annotations

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


ROUTES = (
    Route("GET", "/overview", get_overview, "overview", "Counts and counters of the whole broker"),
    Route(
        "GET",
        "/overview/clients",
        get_busiest,
        "busiest_clients",
        "Those with most messages waiting",
        where=Where.ALL,
    ),
)
