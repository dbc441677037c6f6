"""`/bridges`: the bridges, their state, and their changes. `/rules`: an answer for scripts that ask for
NanoMQ's rule engine."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from aiohttp import web

from ...bridge.bridge import Bridge
from ...bridge.mapping import Mapping, MappingError
from ...bridge.settings import Forward, RemoteSubscription
from ...config.bridges import bridge_of
from ...config.errors import ConfigError
from ...outgoing.tls import TlsError
from ...outgoing.urls import shown_url
from ..answers import Code, Refused, as_json, data, done
from ..calls import Call, Route

HIDDEN = "******"


async def bridges(call: Call) -> web.Response:
    """NanoMQ's keys, and ours: ``status`` is the state of each bridge."""
    return data({"bridge": {"nodes": [node(bridge) for bridge in call.served.bridges().all.values()]}})


async def one(call: Call) -> web.Response:
    """One bridge. As with NanoMQ an unknown name is no error."""
    bridge = call.served.bridges().all.get(call.arguments[0])
    return data({"bridge": {"nodes": [node(bridge)] if bridge is not None else []}})


def node(bridge: Bridge) -> dict[str, Any]:
    settings, status = bridge.settings, bridge.status.to_dict()
    status["server"] = shown_url(status["server"])
    return {
        "name": settings.name,
        "enable": settings.enable,
        "parallel": 1,
        "connector": {
            "server": shown_url(settings.servers[0].url),
            "proto_ver": bridge.status.version or settings.versions[0][0],
            "clientid": settings.clientid,
            "clean_start": settings.clean_start,
            "username": settings.username,
            "password": HIDDEN if settings.password else None,
            "keepalive": settings.keepalive,
        },
        "forwards": [_forward(one) for one in settings.forwards],
        "subscription": [_subscription(one) for one in settings.subscriptions],
        "status": status,
    }


def _forward(forward: Forward) -> dict[str, Any]:
    mapping = forward.mapping
    return {
        **_affixes(mapping),
        "remote_topic": mapping.target,
        "local_topic": mapping.source,
        **({} if forward.qos is None else {"qos": forward.qos}),
        **({} if forward.retain is None else {"retain": int(forward.retain)}),
    }


def _subscription(subscription: RemoteSubscription) -> dict[str, Any]:
    mapping = subscription.mapping
    return {
        **_affixes(mapping),
        "remote_topic": mapping.source,
        "local_topic": mapping.target,
        "qos": subscription.qos,
        **({} if subscription.retain is None else {"retain": int(subscription.retain)}),
    }


def _affixes(mapping: Mapping) -> dict[str, str]:
    return {name: text for name in ("prefix", "suffix") if (text := getattr(mapping, name))}


async def create(call: Call) -> web.Response:
    """Add a bridge, described by the keys of the file, until the next reload or restart."""
    name = call.arguments[0]
    if name in call.served.bridges().all:
        raise Refused(400, Code.BAD_REQUEST, f'there is a bridge "{name}" already; PUT changes it')
    _put(call, name, await call.object())
    return done()


async def change(call: Call) -> web.Response:
    """Change an existing bridge in the same way. As with NanoMQ the keys stand below its name. Waiting
    messages are kept."""
    body = await call.object()
    name = _known(call, Code.NO_SUCH_BRIDGE).settings.name
    _put(call, name, body[name] if isinstance(body.get(name), dict) else body)
    return done()


def _put(call: Call, name: str, values: dict[str, Any]) -> None:
    before = call.served.bridges().all.get(name)
    if before is not None and values.get("password") == HIDDEN:
        values = {**values, "password": before.settings.password}
    try:
        call.served.bridges().add(bridge_of(name, values, os.environ))
    except (ConfigError, TlsError) as error:
        raise Refused(400, Code.BAD_REQUEST, str(error).replace("command line: ", "")) from None


async def remove(call: Call) -> web.Response:
    """Remove a bridge until the next reload or restart. Its waiting messages are dropped."""
    call.served.bridges().remove(_known(call).settings.name)
    return done()


async def switch(call: Call) -> web.Response:
    """Switch a bridge on or off: ``{"data": {"bridge_switch": true}}``. While it is off, messages wait."""
    wanted = await call.object()
    bridge = _known(call)
    on = _data(wanted).get("bridge_switch")
    if not isinstance(on, bool):
        raise Refused(400, Code.BAD_REQUEST, "data.bridge_switch has to be true or false")
    if on == (bridge.status.state != "disabled"):
        raise Refused(400, Code.BAD_REQUEST, f"the bridge is {'on' if on else 'off'} already")
    call.served.bridges().switch(bridge.settings.name, on)
    return done()


async def subscribe(call: Call) -> web.Response:
    """``{"data": {"subscription": [{"remote_topic": ..., "local_topic": ..., "qos": ...}]}}``"""
    settings = _known(call).settings
    added = []
    for wanted in await _entries(call, "subscription"):
        source, target, qos = (wanted.get(key) for key in ("remote_topic", "local_topic", "qos"))
        if not isinstance(source, str) or not isinstance(target, str) or qos not in (None, 0, 1, 2):
            raise Refused(400, Code.BAD_REQUEST, "an entry has remote_topic, local_topic and qos 0 to 2")
        try:
            added.append(RemoteSubscription(Mapping.of(source, target), qos or 0))
        except MappingError as error:
            raise Refused(400, Code.BAD_REQUEST, str(error)) from None
    topics = {one.mapping.source for one in added}
    kept = [one for one in settings.subscriptions if one.mapping.source not in topics]
    _with(call, (*kept, *added))
    return done()


async def unsubscribe(call: Call) -> web.Response:
    """``{"data": {"unsubscription": [{"topic": ...}]}}``"""
    settings = _known(call).settings
    topics = {wanted.get("topic") for wanted in await _entries(call, "unsubscription")}
    kept = tuple(one for one in settings.subscriptions if one.mapping.source not in topics)
    if kept != settings.subscriptions:
        _with(call, kept)
    return done()


def _with(call: Call, subscriptions: tuple[RemoteSubscription, ...]) -> None:
    """Give the bridge other subscriptions; it stays on or off."""
    bridge = _known(call)
    settings = replace(bridge.settings, enable=bridge.is_on, subscriptions=subscriptions)
    call.served.bridges().add(settings)


def _known(call: Call, code: Code = Code.BAD_REQUEST) -> Bridge:
    bridge: Bridge | None = call.served.bridges().all.get(call.arguments[0])
    if bridge is None:
        raise Refused(404, code, f'there is no bridge "{call.arguments[0]}"')
    return bridge


def _data(body: dict[str, Any]) -> dict[str, Any]:
    found = body.get("data")
    if not isinstance(found, dict):
        raise Refused(400, Code.BAD_BODY, "the body has no object data")
    return found


async def _entries(call: Call, key: str) -> list[dict[str, Any]]:
    found = _data(await call.object()).get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise Refused(400, Code.BAD_REQUEST, f"data.{key} has to be a list of objects")
    return found


async def rules(call: Call) -> web.Response:
    """The answer of a NanoMQ that was built without its rule engine."""
    return as_json({"code": Code.NO_SUCH_PLUGIN})


ROUTES = (
    Route("GET", "/bridges", bridges, "list_mqtt_bridges", "The bridges and how they are"),
    Route("GET", "/bridges/:bridge_name", one, "get_mqtt_bridges", "One bridge, in a list"),
    Route("POST", "/bridges/:bridge_name", create, "create_mqtt_bridge", "Add a bridge", True),
    Route("PUT", "/bridges/:bridge_name", change, "put_mqtt_bridge", "Change a bridge", True),
    Route("DELETE", "/bridges/:bridge_name", remove, "delete_mqtt_bridge", "Remove a bridge", True),
    Route("POST", "/bridges/switch/:bridge_name", switch, "put_mqtt_bridge_switch", "Switch it", True),
    Route("POST", "/bridges/sub/:bridge_name", subscribe, "post_mqtt_bridge_sub", "Add topics", True),
    Route("POST", "/bridges/unsub/:bridge_name", unsubscribe, "post_mqtt_bridge_unsub", "Remove", True),
    Route("GET", "/rules", rules, "list_rules", "There is no rule engine"),
    Route("GET", "/rules/:ruleid", rules, "get_rule_details", "There is no rule engine"),
    Route("POST", "/rules", rules, "create_rule", "There is no rule engine", True),
    Route("PUT", "/rules/:ruleid", rules, "update_rule", "There is no rule engine", True),
    Route("DELETE", "/rules/:ruleid", rules, "delete_rule", "There is no rule engine", True),
)
