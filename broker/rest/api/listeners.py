"""`/listeners`: the addresses that accept clients, with EMQX's keys."""

from __future__ import annotations

from collections import Counter

from aiohttp import web

from ..answers import data
from ..calls import Call, Route
from ..served import NODE


async def listeners(call: Call) -> web.Response:
    engine = call.served.engine
    connected = Counter(channel.listener for channel in engine.channels)
    found = [
        {
            "protocol": f"mqtt:{one.settings.type}",
            "name": one.settings.name,
            "listen_on": one.url.partition("://")[2] or one.url.partition(":")[2],
            "url": one.url,
            "acceptors": 1,
            "max_conns": engine.limits.max_connections,
            "current_conns": connected[one.settings.name],
        }
        for one in call.served.listeners
    ]
    return data([{"node": NODE, "listeners": found}])


ROUTES = (Route("GET", "/listeners", listeners, "list_listeners", "The addresses that accept clients"),)
