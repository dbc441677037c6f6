"""Converts the bridges of old files to `bridges.mqtt.NAME {}`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..tree import Place
from .errors import ConvertError
from .names import seconds
from .write import put

_NAMELESS = "bridge"
"""The name of a bridge without one: NanoMQ 0.6 had only one bridge."""
_ITEMS = {
    *("address", "proto_ver", "bridge_mode", "clientid", "keepalive", "clean_start", "username", "password"),
    *("forwards", "subscription", "parallel", "tls", "will", "connect"),
}
_PREFIXES = {
    "tls": "ssl",
    "connect.properties": "conn_properties",
    "subscription.properties": "sub_properties",
}
_NUMBERED = re.compile(r"(forwards|subscription)\.(\d+)\.(\w+)")
_SECONDS = re.compile(r"keepalive|quic_(?:keepalive|\w+_timeout)")


class FlatBridge:
    """``bridge.mqtt.NAME.ITEM=VALUE``, line by line."""

    def __init__(self, converted: Any) -> None:
        self._converted = converted
        self._bridges: dict[str, dict[str, Any]] = {}
        self._topics: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}

    def add(self, key: str, value: str, place: Place) -> None:
        """``key`` is the part after ``bridge.mqtt.``."""
        name, _, item = key.partition(".")
        if name in _ITEMS or not item:
            name, item = _NAMELESS, key
        bridge = self._bridges.setdefault(name, {"server": "", "enable": "false"})
        if match := _NUMBERED.fullmatch(item):
            topics = self._topics.setdefault((name, match[1]), {})
            topics.setdefault(int(match[2]), {})[match[3]] = value
        elif item == "forwards":
            put(bridge, item, [both_ways(topic.strip()) for topic in value.split(",")])
        else:
            self._item(bridge, f"bridge.mqtt.{key}", item, value, place)

    def _item(self, bridge: dict[str, Any], key: str, item: str, value: str, place: Place) -> None:
        match item:
            case "address":
                bridge["server"] = value
            case "bridge_mode":
                bridge["enable"] = value
            case "parallel":
                bridge["max_parallel_processes"] = value
            case _ if item.endswith("user_property"):
                try:
                    put(bridge, _renamed(item), json.loads(value))
                except (ValueError, RecursionError):
                    self._converted.note(place, key, "is not JSON, left out")
            case _ if _SECONDS.fullmatch(item):
                put(bridge, _renamed(item), seconds(value))
            case _:
                put(bridge, _renamed(item), value)

    def finish(self) -> None:
        for (name, kind), numbered in self._topics.items():
            topics = [_topic(topic) for _, topic in sorted(numbered.items())]
            put(self._bridges[name], kind, _listed(self._bridges[name].get(kind, []), kind) + topics)
        for name, bridge in self._bridges.items():
            put(self._converted.tree, ("bridges", "mqtt", name), bridge_without_unused_tls(bridge))


def both_ways(topic: str) -> dict[str, Any]:
    """A topic that is called the same on both sides."""
    return {"remote_topic": topic, "local_topic": topic}


def bridge_without_unused_tls(bridge: dict[str, Any]) -> dict[str, Any]:
    """Without `ssl {}` where that was off: today it is on where it is there."""
    tls = bridge.get("ssl")
    if isinstance(tls, Mapping) and str(tls.get("enable", "true")).lower() != "true":
        del bridge["ssl"]
    return bridge


def bridge_of_node(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node of `bridges.mqtt.nodes`, of 0.14 to 0.18. Raises ConvertError."""
    bridge = {key: value for key, value in node.items() if key not in ("name", "connector", "parallel")}
    connector = node.get("connector", {})
    if not isinstance(connector, Mapping):
        raise ConvertError("bridges: connector: write a section { ... }")
    bridge |= connector
    if "parallel" in node:
        bridge["max_parallel_processes"] = node["parallel"]
    for kind in ("forwards", "subscription"):
        if kind in bridge:
            bridge[kind] = [_topic(one) for one in _listed(bridge[kind], kind)]
    return bridge_without_unused_tls(bridge)


def _listed(value: Any, kind: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConvertError(f"bridges: {kind}: write a list [ ... ]")
    return value


def _topic(topic: Any) -> dict[str, Any]:
    if isinstance(topic, str):
        return both_ways(topic)
    if not isinstance(topic, Mapping):
        raise ConvertError("bridges: a topic is text, or a section { remote_topic, local_topic }")
    if "topic" not in topic:
        return dict(topic)
    return both_ways(topic["topic"]) | {key: value for key, value in topic.items() if key != "topic"}


def _renamed(item: str) -> str:
    for old, new in _PREFIXES.items():
        if item.startswith(f"{old}."):
            return new + item.removeprefix(old)
    return item
