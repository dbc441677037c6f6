"""`/ctrl`: stop or restart the broker."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ..answers import Code, Refused, done
from ..calls import Call, Route

DELAY = 0.2
"""Seconds until the broker acts, so that the answer is sent first. NanoMQ: 2."""


async def control(call: Call) -> web.Response:
    """Refused if the broker is a part of another program, such as a test."""
    action = call.arguments[0]
    if action not in ("stop", "restart"):
        raise Refused(404, Code.RPC_ERROR, f'"{action}" is not an action; there are stop and restart')
    end = call.served.end()
    if end is None:
        raise Refused(404, Code.RPC_ERROR, "this broker is part of another program, which must stop it")
    if action == "restart" and (problems := await end.problems()):
        why = "; ".join(problems)
        raise Refused(
            400, Code.NO_CONFIGURATION, f"the broker continues, because it could not start again: {why}"
        )
    asyncio.get_running_loop().call_later(DELAY, end, action == "restart")
    return done()


ROUTES = (Route("POST", "/ctrl/:action", control, "ctrl_broker", "stop or restart", True),)
