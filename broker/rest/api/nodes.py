"""`/brokers` and `/nodes`: this broker."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web

from ... import __version__
from ...live.numbers import overview
from ..answers import data
from ..calls import Call, Route


def uptime(call: Call) -> str:
    """Such as ``0 Hours, 1 minutes, 36 seconds``."""
    engine = call.served.engine
    seconds = int(engine.clock.monotonic() - engine.started)
    return f"{seconds // 3600} Hours, {seconds // 60 % 60} minutes, {seconds % 60} seconds"


async def brokers(call: Call) -> web.Response:
    now = datetime.fromtimestamp(call.served.engine.clock.time())
    return data(
        [
            {
                "datetime": now.strftime("%Y-%m-%d %H:%M:%S"),
                "node_status": "Running",
                "sysdescr": "pybroker",
                "uptime": uptime(call),
                "version": __version__,
            }
        ]
    )


async def nodes(call: Call) -> web.Response:
    """NanoMQ counts every session as a connection, also those whose client is away."""
    engine = call.served.engine
    return data(
        [
            {
                "connections": overview(engine)["sessions"],
                "node_status": "Running",
                "uptime": uptime(call),
                "version": __version__,
            }
        ]
    )


ROUTES = (
    Route("GET", "/brokers", brokers, "list_brokers", "The brokers of the cluster: this one"),
    Route("GET", "/nodes", nodes, "list_nodes", "The nodes of the cluster: this one"),
)
