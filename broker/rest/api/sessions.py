"""`/sessions`: the session of each client, connected or not."""

from __future__ import annotations

from collections.abc import Iterator
from math import isinf
from typing import Any

from aiohttp import web

from ...session.session import Session
from ..answers import Code, Refused, data
from ..calls import Call, Route, Where
from ..listing import listing
from .clients import kick


def element(session: Session) -> dict[str, Any]:
    queue = session.queue
    return {
        "clientid": session.client_id,
        "username": session.client.username or "",
        "connected": session.connected,
        "expiry": None if isinf(session.expiry) else session.expiry,
        "subscriptions_cnt": len(session.subscriptions),
        "inflight": len(session.inflight),
        "mqueue_len": len(queue) if queue is not None else 0,
        "mqueue_bytes": queue.bytes if queue is not None else 0,
        "has_will": session.will is not None,
    }


def _all(call: Call) -> Iterator[dict[str, Any]]:
    for session in call.served.engine.sessions:
        yield element(session)


async def sessions(call: Call) -> web.Response:
    return await listing(call.request.rel_url.query, _all(call))


async def one(call: Call) -> web.Response:
    session = call.served.engine.sessions.get(call.arguments[0])
    if session is None:
        raise Refused(404, Code.NO_SUCH_CLIENT, f'there is no session of "{call.arguments[0]}"')
    return data(element(session))


ROUTES = (
    Route(
        "GET",
        "/sessions",
        sessions,
        "list_sessions",
        "All sessions, with what waits in them",
        where=Where.ALL,
    ),
    Route("GET", "/sessions/:clientid", one, "get_session", "The session of a client", where=Where.OWNER),
    Route(
        "DELETE",
        "/sessions/:clientid",
        kick,
        "end_session",
        "End it; a connected client leaves",
        True,
        where=Where.OWNER,
    ),
)
