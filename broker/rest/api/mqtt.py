"""`/mqtt/...`: publish, and subscribe on behalf of a client."""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from aiohttp import web

from ...engine.publish import SYS, broadcast
from ...engine.retained import send_retained
from ...engine.subscribe import add_subscription, remove_subscription
from ...events import Client
from ...packets.properties import Properties
from ...routing.subscription import Subscription
from ...routing.topics import filter_error, topic_error
from ..answers import Code, Refused, as_json, done
from ..calls import Call, Route, Where
from ..listing import AT_ONCE

SENDER = "pybroker-http"
"""The publisher's client identifier, if the request has none."""


def refused(message: str, code: Code = Code.BAD_REQUEST) -> Refused:
    """Answered with status 200, as NanoMQ does."""
    return Refused(200, code, message)


# ---- publish


def publish_one(call: Call, wanted: dict[str, Any]) -> None:
    """Publish what a request says. Raises Refused, and then nothing has been published."""
    keys = {key.lower(): value for key, value in wanted.items()}
    topics = _topics(keys)
    payload = _payload(keys)
    qos, retain = _qos(keys.get("qos", 0)), keys.get("retain") is True
    properties = _properties(keys.get("properties"))
    clientid = keys.get("clientid")
    sender = Client(clientid if isinstance(clientid, str) and clientid else SENDER)
    if len(topics) > AT_ONCE:
        raise refused(f'"topics" names {len(topics)} topics; at most {AT_ONCE} are taken')
    for topic in topics:
        broadcast(
            call.served.engine, topic, payload, qos=qos, retain=retain, properties=properties, source=sender
        )
    call.served.engine.flush()


def _topics(keys: dict[str, Any]) -> list[str]:
    if "topic" in keys:
        topics = [keys["topic"]]
    elif isinstance(keys.get("topics"), str):
        topics = [topic for topic in keys["topics"].split(",") if topic]
    else:
        raise refused('"topic" is missing: a text; or "topics": a text with commas')
    for topic in topics:
        if not isinstance(topic, str):
            raise refused('"topic" is not a text')
        if error := topic_error(topic):
            raise refused(f'"{topic}": {error}')
        if topic.startswith(SYS):
            raise refused(f'"{topic}": topics below {SYS} are the broker\'s own')
    return topics


def _payload(keys: dict[str, Any]) -> bytes:
    payload = keys.get("payload")
    if not isinstance(payload, str):
        raise refused('"payload" is missing: a text')
    if "base64" not in (keys.get("encoding"), keys.get("decoding")):
        return payload.encode(errors="replace")
    try:
        return b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise refused('"payload" is not base64') from None


def _qos(value: Any) -> int:
    """Numbers alone count; 1.5 is 1, as with NanoMQ."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if not 0 <= value < 3:
        raise refused(f'"qos" is 0, 1 or 2, not {value}')
    return int(value)


def _properties(value: Any) -> Properties | None:
    """The properties with a value of the right type; others are skipped, as NanoMQ does."""
    if not isinstance(value, dict):
        return None
    if "subscription_identifier" in value:
        raise refused('"subscription_identifier" is for subscribers; a publisher may not send one')
    found = Properties()
    for key in ("response_topic", "content_type"):
        if isinstance(text := value.get(key), str):
            setattr(found, key, text)
    if isinstance(data := value.get("correlation_data"), str):
        found.correlation_data = data.encode(errors="replace")
    if value.get("payload_format_indicator") in (0, 1):
        found.payload_format_indicator = int(value["payload_format_indicator"])
    seconds = value.get("message_expiry_interval")
    if isinstance(seconds, int) and not isinstance(seconds, bool) and 0 <= seconds <= 0xFFFFFFFF:
        found.message_expiry_interval = seconds
    if isinstance(pairs := value.get("user_properties"), dict):
        found.user_properties = tuple(_user_properties(pairs))
    return found


def _user_properties(pairs: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for key, value in pairs.items():
        if isinstance(value, bool):
            found.append((key, str(value).lower()))
        elif isinstance(value, str | int | float):
            found.append((key, str(value)))
    return found


async def publish(call: Call) -> web.Response:
    publish_one(call, await call.object())
    return done()


async def publish_batch(call: Call) -> web.Response:
    """Publish all valid members; the answer names the invalid ones."""
    return await _batch(call, publish_one)


# ---- subscribe on behalf of a client


def subscribe_one(call: Call, wanted: dict[str, Any]) -> None:
    """Subscribe on behalf of the client. Raises Refused."""
    engine = call.served.engine
    session = _session(call, wanted)
    qos = _qos(wanted.get("qos", 0))
    filters = _filters(wanted)
    room = engine.limits.max_subscriptions - len(session.subscriptions)
    if len([one for one in filters if one not in session.subscriptions]) > room:
        raise refused(f"the client has limits.max_subscriptions = {engine.limits.max_subscriptions} already")
    for topic_filter in filters:
        subscription = Subscription(topic_filter, min(qos, engine.mqtt.max_qos))
        add_subscription(engine, session, subscription)
        send_retained(engine, session, subscription)
    engine.flush()


def unsubscribe_one(call: Call, wanted: dict[str, Any]) -> None:
    session = _session(call, wanted)
    for topic_filter in _filters(wanted):
        remove_subscription(call.served.engine, session, topic_filter)


def _session(call: Call, wanted: dict[str, Any]) -> Any:
    clientid = wanted.get("clientid")
    if not isinstance(clientid, str):
        raise refused('"clientid" is missing: whose subscription it is')
    session = call.served.engine.sessions.get(clientid)
    if session is None:
        raise refused(f'there is no client "{clientid}"', Code.NO_SUCH_CLIENT)
    return session


def _filters(wanted: dict[str, Any]) -> list[str]:
    if isinstance(wanted.get("topic"), str):
        filters = [wanted["topic"]]
    elif isinstance(wanted.get("topics"), str):
        filters = [one for one in wanted["topics"].split(",") if one]
    else:
        raise refused('"topic" is missing: a topic filter; or "topics": several with commas')
    for one in filters:
        if error := filter_error(one):
            raise refused(f'"{one}": {error}')
    return filters


async def subscribe(call: Call) -> web.Response:
    subscribe_one(call, await call.object())
    return done()


async def unsubscribe(call: Call) -> web.Response:
    unsubscribe_one(call, await call.object())
    return done()


async def subscribe_batch(call: Call) -> web.Response:
    return await _batch(call, subscribe_one)


async def unsubscribe_batch(call: Call) -> web.Response:
    return await _batch(call, unsubscribe_one)


async def _batch(call: Call, one: Callable[[Call, dict[str, Any]], None]) -> web.Response:
    """An answer for each member of the array."""
    wanted = await call.json()
    if not isinstance(wanted, list):
        raise Refused(400, Code.BAD_BODY, "the body is not a JSON array")
    found = []
    for member in wanted:
        answer: dict[str, Any] = {"topic": "", "code": Code.SUCCESS}
        if isinstance(member, dict):
            topic = member.get("topic", member.get("topics"))
            answer["topic"] = topic if isinstance(topic, str) else ""
        try:
            if not isinstance(member, dict):
                raise refused("it is not a JSON object")
            one(call, member)
        except Refused as error:
            answer["code"] = error.code
        found.append(answer)
        if len(found) % AT_ONCE == 0:
            await asyncio.sleep(0)
    return as_json({"data": found, "code": Code.SUCCESS})


ROUTES = (
    Route("POST", "/mqtt/publish", publish, "mqtt_publish", "Publish a message", True),
    Route("POST", "/mqtt/publish_batch", publish_batch, "mqtt_publish_batch", "Publish several", True),
    Route(
        "POST",
        "/mqtt/subscribe",
        subscribe,
        "mqtt_subscribe",
        "Subscribe for a client",
        True,
        where=Where.OWNER_IN_BODY,
    ),
    Route(
        "POST",
        "/mqtt/subscribe_batch",
        subscribe_batch,
        "mqtt_subscribe_batch",
        "Several",
        True,
        where=Where.OWNERS_IN_BODY,
    ),
    Route(
        "POST",
        "/mqtt/unsubscribe",
        unsubscribe,
        "mqtt_unsubscribe",
        "Unsubscribe for a client",
        True,
        where=Where.OWNER_IN_BODY,
    ),
    Route(
        "POST",
        "/mqtt/unsubscribe_batch",
        unsubscribe_batch,
        "mqtt_unsubscribe_batch",
        "Several",
        True,
        where=Where.OWNERS_IN_BODY,
    ),
)
