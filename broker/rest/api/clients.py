"""`/clients`: connected clients, and clients with a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from ...engine.disconnect import end_session
from ...live.numbers import client_of
from ...live.packets import MAX_CLIENTS, TooManyError
from ...packets.reasons import ReasonCode
from ...session.session import Session
from ..answers import Code, Refused, as_json, data, done
from ..calls import Call, Route, Where
from ..listing import listing, number

PROTOCOLS = {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}
PAGES = ("_page", "_limit")


def element(session: Session) -> dict[str, Any]:
    """NanoMQ's keys first, then EMQX's for tools that read those."""
    client = session.client
    found: dict[str, Any] = {
        "client_id": client.client_id,
        "username": client.username or "",
        "keepalive": client.keepalive,
        "conn_state": "connected" if session.connected else "disconnected",
        "clean_start": client.clean_start,
        "proto_name": PROTOCOLS.get(client.protocol_version, "MQTT"),
        "proto_ver": client.protocol_version,
    }
    if session.will is not None:
        found["will_topic"] = session.will.topic
        found["will_msg"] = session.will.payload.decode(errors="replace")
    host, _, port = client.peer.rpartition(":")
    found |= {
        "clientid": client.client_id,
        "connected": session.connected,
        "ip_address": host.strip("[]"),
        "port": int(port) if port.isdigit() else 0,
        "is_bridge": False,
        "subscriptions_cnt": len(session.subscriptions),
        "inflight": len(session.inflight),
        "mqueue_len": len(session.queue) if session.queue is not None else 0,
    }
    return found


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def _one_of(*allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in allowed:
            raise ValueError
        return text

    return check


FILTERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "clientid": ("client_id", str),
    "client_id": ("client_id", str),
    "username": ("username", str),
    "conn_state": ("conn_state", _one_of("connected", "disconnected")),
    "clean_start": ("clean_start", _flag),
    "proto_name": ("proto_name", str),
    "proto_ver": ("proto_ver", lambda text: int(_one_of("3", "4", "5")(text))),
}
"""For each key of the query the key of an element, and the function that parses its text."""


def _wanted(query: Mapping[str, str]) -> dict[str, Any]:
    """The filters of the query. An empty value is no filter, as with NanoMQ. Raises Refused."""
    found = {}
    for key, text in query.items():
        if not text or key in PAGES:
            continue
        if key not in FILTERS:
            raise Refused(400, Code.BAD_REQUEST, f'"{key}" is not a filter; there are {", ".join(FILTERS)}')
        name, read = FILTERS[key]
        try:
            found[name] = read(text)
        except ValueError:
            raise Refused(400, Code.BAD_REQUEST, f'{key} cannot be "{text}"') from None
    return found


def _matching(call: Call, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for session in call.served.engine.sessions:
        one = element(session)
        if all(one[key] == value for key, value in wanted.items()):
            yield one


async def clients(call: Call) -> web.Response:
    query = call.request.rel_url.query
    return await listing(query, _matching(call, _wanted(query)))


async def client(call: Call) -> web.Response:
    """The same list, with at most one client. An unknown client is no error."""
    session = call.served.engine.sessions.get(call.arguments[0])
    wanted = _wanted(call.request.rel_url.query)
    found = [] if session is None else [element(session)]
    return data([one for one in found if all(one[key] == value for key, value in wanted.items())])


async def by_username(call: Call) -> web.Response:
    query = call.request.rel_url.query
    return await listing(query, _matching(call, {**_wanted(query), "username": call.arguments[0]}))


async def no_username(call: Call) -> web.Response:
    return data([])


async def details(call: Call) -> web.Response:
    """One client with everything in its session."""
    session = call.served.engine.sessions.get(call.arguments[0])
    if session is None:
        raise Refused(404, Code.NO_SUCH_CLIENT, f'there is no client "{call.arguments[0]}"')
    found = client_of(session)
    found["filters"] = [
        {
            "topic": one.topic_filter,
            "qos": one.qos,
            "no_local": one.no_local,
            "retain_as_published": one.retain_as_published,
        }
        for one in session.subscriptions.values()
    ]
    found["expiry"] = None if session.expiry == float("inf") else session.expiry
    found["will_topic"] = session.will.topic if session.will is not None else None
    return data(found)


async def packets(call: Call) -> web.Response:
    """The last packets of a client. Recording begins with the first such request, even before the client
    connects."""
    after = number(call.request.rel_url.query, "after", 0)
    try:
        found = call.served.packets.look(call.arguments[0], after)
    except TooManyError:
        raise Refused(503, Code.BAD_REQUEST, f"{MAX_CLIENTS} other clients are watched already") from None
    return data([asdict(packet) for packet in found])


async def kick(call: Call) -> web.Response:
    """Disconnects the client and ends its session, as EMQX does."""
    engine = call.served.engine
    session = engine.sessions.get(call.arguments[0])
    if session is None:
        return as_json({"code": Code.NO_SUCH_CLIENT, "message": "there is no such client"}, 404)
    if session.channel is not None:
        session.channel.close(ReasonCode.ADMINISTRATIVE_ACTION, text="disconnected by the administrator")
    session = engine.sessions.get(call.arguments[0])
    if session is not None:
        end_session(engine, session, "kicked")
    engine.flush()
    return done()


ROUTES = (
    Route(
        "GET",
        "/clients",
        clients,
        "list_clients",
        "All clients: connected ones and sessions",
        where=Where.ALL,
    ),
    Route("GET", "/clients/username", no_username, "list_clients", "Nothing: the user name is missing"),
    Route(
        "GET",
        "/clients/username/:username",
        by_username,
        "lookup_client_via_username",
        "Those of a user",
        where=Where.ALL,
    ),
    Route("GET", "/clients/:clientid", client, "lookup_client", "One client, in a list", where=Where.OWNER),
    Route(
        "GET",
        "/clients/:clientid/details",
        details,
        "client_details",
        "One client and its session",
        where=Where.OWNER,
    ),
    Route(
        "GET",
        "/clients/:clientid/packets",
        packets,
        "client_packets",
        "Its last packets, while asked for",
        where=Where.OWNER,
    ),
    Route(
        "DELETE",
        "/clients/:clientid",
        kick,
        "kickout_client",
        "Disconnect it, end its session",
        True,
        where=Where.OWNER,
    ),
)
