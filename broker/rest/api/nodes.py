"""`/brokers` and `/nodes`: this broker, and each of its processes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aiohttp import web

from ... import __version__
from ...live.numbers import started
from ..answers import data
from ..calls import Call, Route


def uptime(since: float, now: float) -> str:
    """Such as ``0 Hours, 1 minutes, 36 seconds``."""
    seconds = max(0, int(now - since))
    return f"{seconds // 3600} Hours, {seconds // 60 % 60} minutes, {seconds % 60} seconds"


async def brokers(call: Call) -> web.Response:
    engine = call.served.engine
    now = datetime.fromtimestamp(engine.clock.time())
    return data(
        [
            {
                "datetime": now.strftime("%Y-%m-%d %H:%M:%S"),
                "node_status": "Running",
                "sysdescr": "pybroker",
                "uptime": uptime(started(engine), engine.clock.time()),
                "version": __version__,
            }
        ]
    )


async def nodes(call: Call) -> web.Response:
    """NanoMQ's keys, and ours if there are several nodes. NanoMQ counts every session as a connection, also
    those whose client is away."""
    now, found = call.served.engine.clock.time(), call.served.nodes()
    return data([_element(one, now) | (_more(one) if len(found) > 1 else {}) for one in found])


def _more(node: dict[str, Any]) -> dict[str, Any]:
    return {"node": node["name"], **node}


def _element(node: dict[str, Any], now: float) -> dict[str, Any]:
    since = node["up_since"]
    return {
        "connections": node.get("sessions", 0),
        "node_status": "Running" if node["answers"] else "Stopped",
        "uptime": uptime(now if since is None else since, now),
        "version": __version__,
    }


ROUTES = (
    Route("GET", "/brokers", brokers, "list_brokers", "The brokers of the cluster: this one"),
    Route("GET", "/nodes", nodes, "list_nodes", "Its processes, and how each is"),
)
