"""`/banned`: clients, users and addresses that may not connect, with EMQX's keys."""

from __future__ import annotations

from math import inf, isinf
from typing import Any

from aiohttp import web

from ...engine.bans import KINDS, MOST, Ban
from ...packets.reasons import ReasonCode
from ..answers import Code, Refused, data
from ..calls import Call, Route, Where
from ..listing import listing

FIELDS = {"who", "as", "reason", "by", "at", "until"}


def element(ban: Ban) -> dict[str, Any]:
    return {
        "who": ban.who,
        "as": ban.kind,
        "reason": ban.reason,
        "by": ban.by,
        "at": int(ban.at),
        "until": None if isinf(ban.until) else int(ban.until),
    }


async def banned(call: Call) -> web.Response:
    bans = call.served.engine.bans.all(call.served.engine.clock.time())
    return await listing(call.request.rel_url.query, map(element, bans))


async def ban(call: Call) -> web.Response:
    """Add a ban. ``until`` is a time in seconds since the epoch; without it the ban holds until it is
    removed. Connected clients that it matches are disconnected. ``sqlite {}`` keeps bans over a restart."""
    wanted, engine = await call.object(), call.served.engine
    now = engine.clock.time()
    new = _read(wanted, now)
    if not engine.bans.put(new):
        raise Refused(400, Code.BAD_REQUEST, f"there are {MOST} bans already")
    for session in engine.sessions:
        if session.channel is not None and engine.bans.of(session.client, now) is new:
            session.channel.close(ReasonCode.BANNED, text="banned by the administrator")
    engine.flush()
    return data(element(new))


def _read(wanted: dict[str, Any], now: float) -> Ban:
    who, kind = wanted.get("who"), wanted.get("as")
    if not isinstance(who, str) or not who:
        raise Refused(400, Code.BAD_REQUEST, '"who" is missing: a text')
    if kind not in KINDS:
        raise Refused(400, Code.BAD_REQUEST, f'"as" is one of {", ".join(KINDS)}')
    if unknown := wanted.keys() - FIELDS:
        raise Refused(400, Code.BAD_REQUEST, f'"{min(unknown)}" is not known; there are {", ".join(FIELDS)}')
    until = wanted.get("until")
    if until is None:
        until = inf
    elif isinstance(until, bool) or not isinstance(until, int | float) or until <= now:
        raise Refused(400, Code.BAD_REQUEST, '"until" must be a future time, in seconds since the epoch')
    texts = {key: wanted.get(key, "") for key in ("reason", "by")}
    for key, text in texts.items():
        if not isinstance(text, str) or len(text) > 1000:
            raise Refused(400, Code.BAD_REQUEST, f'"{key}" is a text of at most 1000 characters')
    return Ban(kind, who, at=now, until=float(until), **texts)


async def lift(call: Call) -> web.Response:
    kind, who = call.arguments
    if not call.served.engine.bans.lift(kind, who):
        raise Refused(404, Code.BAD_REQUEST, f'there is no ban of the {kind} "{who}"')
    call.served.engine.flush()
    return data([])


ROUTES = (
    Route("GET", "/banned", banned, "list_banned", "Who may not connect"),
    Route(
        "POST", "/banned", ban, "create_banned", "Keep a client, user or address out", True, where=Where.EACH
    ),
    Route("DELETE", "/banned/:as/:who", lift, "delete_banned", "Let it in again", True, where=Where.EACH),
)
