"""`/subscriptions`: all topic filters, shared ones with their `$share/GROUP/`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from ...session.session import Session
from ..calls import Call, Route, Where
from ..listing import listing


def _of(session: Session) -> Iterator[dict[str, Any]]:
    for one in list(session.subscriptions.values()):
        yield {"clientid": session.client_id, "topic": one.topic_filter, "qos": one.qos}


async def subscriptions(call: Call) -> web.Response:
    """The subscriptions of every session. Unknown keys of the query are ignored, as NanoMQ does."""
    found = (one for session in call.served.engine.sessions for one in _of(session))
    return await listing(call.request.rel_url.query, found)


async def of_client(call: Call) -> web.Response:
    session = call.served.engine.sessions.get(call.arguments[0])
    found = iter(()) if session is None else _of(session)
    return await listing(call.request.rel_url.query, found)


ROUTES = (
    Route("GET", "/subscriptions", subscriptions, "list_subscriptions", "All subscriptions", where=Where.ALL),
    Route(
        "GET",
        "/subscriptions/:clientid",
        of_client,
        "lookup_client_subscriptions",
        "Those of a client",
        where=Where.OWNER,
    ),
)
