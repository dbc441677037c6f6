"""`/api/v4` itself: the list of paths."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from ..answers import data
from ..calls import Call, Route
from ..openapi import document


def index_of(routes: Sequence[Route]) -> tuple[Route, ...]:
    """The list that NanoMQ has, and the OpenAPI document, of these routes and themselves."""

    async def index(call: Call) -> web.Response:
        return data(
            [
                {"path": one.path or "/", "name": one.name, "method": one.method, "descr": one.summary}
                for one in every
            ]
        )

    async def openapi(call: Call) -> web.Response:
        return web.json_response(description)

    every = (
        *routes,
        Route("GET", "", index, "list_apis", "This list"),
        Route("GET", "/openapi.json", openapi, "openapi", "This API as OpenAPI 3.1"),
    )
    description = document(every)
    return every
