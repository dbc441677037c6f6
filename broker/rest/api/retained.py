"""`/retained`: the last message of each topic."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from ...live.shown import properties_of, text_of
from ...packets.model import Publish
from ...routing.topics import filter_error, matches
from ..answers import Code, Refused, data, done
from ..calls import Call, Route
from ..listing import listing, number

SHOWN = 256
"""The bytes of a payload that the list shows."""
SHOWN_ALONE = 1 << 20
"""The bytes of the payload of a single message; more would block the event loop."""


def element(topic: str, publish: Publish, limit: int = SHOWN) -> dict[str, Any]:
    payload = publish.payload
    shown = payload[:limit]
    found: dict[str, Any] = {
        "topic": topic,
        "qos": publish.qos,
        "size": len(payload),
        "publisher": publish.source.client_id if publish.source else None,
    }
    try:
        found["payload"] = text_of(shown, cut=len(shown) < len(payload))
    except UnicodeDecodeError:
        found["payload"] = b64encode(shown).decode()
        found["binary"] = True
    return found


async def retained(call: Call) -> web.Response:
    """The retained messages. ``topic`` is a topic filter; without it all topics except those that begin with
    ``$``."""
    query = call.request.rel_url.query
    topic_filter = query.get("topic") or "#"
    if error := filter_error(topic_filter):
        raise Refused(400, Code.BAD_REQUEST, f"topic: {error}")
    return await listing(query, _matching(call, topic_filter))


def _matching(call: Call, topic_filter: str) -> Iterator[dict[str, Any]]:
    store = call.served.engine.retained
    now = call.served.engine.clock.monotonic()
    for topic in list(store):
        publish = store.get(topic) if matches(topic_filter, topic) else None
        if publish is not None and (publish.expires_at is None or publish.expires_at > now):
            yield element(topic, publish)


async def one(call: Call) -> web.Response:
    """One retained message with its properties. ``limit`` is the number of bytes of the payload to send."""
    topic = call.arguments[0]
    publish = call.served.engine.retained.get(topic)
    if publish is None:
        raise Refused(404, Code.BAD_REQUEST, f'nothing is retained for "{topic}"')
    limit = min(number(call.request.rel_url.query, "limit", SHOWN_ALONE), SHOWN_ALONE)
    found = element(topic, publish, limit)
    if publish.properties is not None:
        found["properties"] = properties_of(publish.properties)
    return data(found)


async def delete(call: Call) -> web.Response:
    if not call.served.engine.retained.remove(call.arguments[0]):
        raise Refused(404, Code.BAD_REQUEST, f'nothing is retained for "{call.arguments[0]}"')
    return done()


ROUTES = (
    Route("GET", "/retained", retained, "list_retained", "The last message of each topic"),
    Route("GET", "/retained/:topic", one, "get_retained", "One of them, its slashes as %2F"),
    Route("DELETE", "/retained/:topic", delete, "delete_retained", "Forget it", True),
)
