"""Converts the HOCON of NanoMQ 0.14 to 0.18 to today's sections."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..reader import is_off
from ..tree import Items, Node, Section, Text
from .bridge import bridge_of_node
from .convert import Converted
from .errors import ConvertError, not_understood
from .flat_lines import Line
from .names import FLAT_TOPS, RENAMED, SESSION
from .write import Tree, put

_REQUESTS = ("auth_req", "super_req", "acl_req")


def convert_tree(root: Section, converted: Converted) -> None:
    """Add the sections of one file to the conversion. Raises ConvertError if access control is not
    understood."""
    for key, node in root.values.items():
        match key:
            case "mqtt" if isinstance(node, Section):
                _mqtt(node, converted)
            case "listeners" if isinstance(node, Section):
                _listeners(node, converted.tree)
            case "http_server" if isinstance(node, Section):
                _http_server(node, converted)
            case "webhook" if isinstance(node, Section):
                _webhook(node, converted.tree)
            case "authentication" | "authorization":
                _authorization(key, node, converted)
            case "auth" if isinstance(node, Items):
                _users(key, node, converted.tree)
            case "auth_http":
                _http_auth(key, node, converted.tree)
            case "bridges" if isinstance(node, Section):
                _bridges(node, converted)
            case "acl":
                pass  # of the flat format, as those below
            case _ if key not in FLAT_TOPS:
                _merge(converted.tree, key, plain(node))


def flat_keys(root: Section) -> list[Line]:
    """What stands among the sections as in the flat format, such as ``allow_anonymous = false``."""
    lines = []
    for key, node in root.values.items():
        if key == "acl":
            rules = node.section("rule") if isinstance(node, Section) else None
            if rules is None:
                raise not_understood(node.place, key)
            lines += [
                Line(f"acl.rule.{number}", json.dumps(plain(rule)), rule.place)
                for number, rule in rules.values.items()
            ]
        elif key in FLAT_TOPS:
            leaves = node.leaves(f"{key}.") if isinstance(node, Section) else [(key, node)]
            for name, leaf in leaves:
                if not isinstance(leaf, Text):
                    raise ConvertError(f"{leaf.place}: {name}: a single value is expected")
                lines.append(Line(name, leaf.text, leaf.place))
    return lines


def plain(node: Node) -> Any:
    """Texts, lists and dictionaries; nothing is interpreted."""
    if isinstance(node, Section):
        return {key: plain(below) for key, below in node.values.items()}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return node.text


def _merge(tree: Tree, key: str, value: Any) -> None:
    """Set a key, or add to the section that is there."""
    if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
        for name, below in value.items():
            _merge(tree[key], name, below)
    else:
        tree[key] = value


def _mqtt(section: Section, converted: Converted) -> None:
    session = section.section("session")
    leaves = {f"mqtt.{name}": node for name, node in section.values.items() if node is not session}
    if session is not None:
        leaves |= {f"mqtt.session.{name}": node for name, node in session.values.items()}
    for key, node in leaves.items():
        name = key.rpartition(".")[2]
        if not isinstance(node, Text):
            raise ConvertError(f"{node.place}: {key}: a single value is expected")
        if renamed := SESSION.get(name):
            old_unit = key.startswith("mqtt.session.")
            put(converted.tree, renamed.new, renamed.convert(node.text) if old_unit else node.text)
        elif name in ("property_size", "client_max_packet_size"):
            converted.note(node.place, key, "has no effect here, left out")
        else:
            put(converted.tree, f"mqtt.{name}", node.text)


def _listeners(section: Section, tree: Tree) -> None:
    for kind, node in section.values.items():
        listener = plain(node)
        if isinstance(listener, dict):
            listener = {
                renamed.new.rpartition(".")[2] if (renamed := RENAMED.get(f"tls.{key}")) else key: value
                for key, value in listener.items()
            }
        _merge(tree, "listeners", {kind: listener})


def _http_server(section: Section, converted: Converted) -> None:
    server = plain(section)
    jwt = section.section("jwt")
    private = jwt.values.get("private") if jwt else None
    if private is not None:
        del server["jwt"]["private"]
        converted.note(private.place, "http_server.jwt.private", "has no effect here, left out")
    _merge(converted.tree, "http_server", server)


def _webhook(section: Section, tree: Tree) -> None:
    webhook = plain(section)
    rules = webhook.pop("rule", {})
    events = [
        {"event": rule.get("action") or rule.get("event", "")}
        | ({"topic": rule["topic"]} if "topic" in rule else {})
        for rule in _objects(rules)
    ]
    _merge(tree, "webhook", webhook)
    if events:
        named = tree["webhook"].get("events", [])
        if not isinstance(named, list):
            raise ConvertError(f"{section.place}: webhook.events: write a list [ ... ]")
        tree["webhook"]["events"] = named + events
    if "url" not in tree["webhook"]:  # as shipped: rules, and no endpoint
        del tree["webhook"]


def _objects(value: Any) -> list[dict[str, Any]]:
    """All objects in lists below; ``rule.client.connack = [{action = ...}]``."""
    if isinstance(value, list):
        return [item for item in value if isinstance(item, dict)]
    if isinstance(value, dict):
        if "action" in value or "event" in value:
            return [value]
        return [found for below in value.values() for found in _objects(below)]
    return []


# -- access control ---------------------------------------------------------------------------------------


def _authorization(key: str, node: Node, converted: Converted) -> None:
    if not isinstance(node, Section):
        raise not_understood(node.place, key)
    for name, below in node.values.items():
        match name:
            case "no_match" | "deny_action" | "allow_anonymous" if isinstance(below, Text):
                put(converted.tree, f"auth.{name}", below.text)
            case "cache" if isinstance(below, Section):
                if size := below.values.get("max_size"):
                    put(converted.tree, "auth.cache.max_size", plain(size))
            case "sources" if isinstance(below, Items):
                for index, source in enumerate(below.items):
                    _source(f"{key}.sources[{index}]", source, converted)
            case _:
                raise not_understood(below.place, f"{key}.{name}")


def _source(key: str, node: Node, converted: Converted) -> None:
    if not isinstance(node, Section):
        raise not_understood(node.place, key)
    kind = plain(node.values["type"]) if "type" in node.values else ""
    if is_off(node):
        converted.note(node.place, key, f"{kind or 'it'} was off, left out")
        return
    match kind:
        case "simple" if "users" in node.values:
            _users(f"{key}.users", node.values["users"], converted.tree)
        case "file" if isinstance(rules := node.values.get("rules"), Items):
            acl = converted.tree.setdefault("auth", {}).setdefault("acl", {})
            acl["rules"] = acl.get("rules", []) + plain(rules)
        case "http":
            _http_auth(key, node, converted.tree)
        case _:
            raise not_understood(node.place, key)


def _users(key: str, node: Node, tree: Tree) -> None:
    if not isinstance(node, Items):
        raise not_understood(node.place, key)
    for user in node.items:
        values = plain(user) if isinstance(user, Section) else {}
        name = values.get("username") or values.get("login")
        if not (name and isinstance(name, str) and isinstance(values.get("password"), str)):
            raise ConvertError(f"{user.place}: {key}: needs username and password")
        put(tree, ("auth", "password", name), values["password"])


def _http_auth(key: str, node: Node, tree: Tree) -> None:
    if not isinstance(node, Section):
        raise not_understood(node.place, key)
    http = {name: value for name, value in plain(node).items() if name != "type"}
    for request in _REQUESTS:
        asked = http.get(request, {})
        if not isinstance(asked, dict):
            raise not_understood(node.place, f"{key}.{request}")
        params = asked.get("params")
        if isinstance(params, list):  # a list of objects in some versions
            if not all(isinstance(one, dict) for one in params):
                raise not_understood(node.place, f"{key}.{request}.params")
            http[request]["params"] = {name: value for one in params for name, value in one.items()}
    _merge(tree.setdefault("auth", {}), "http_auth", http)


# -- bridges ----------------------------------------------------------------------------------------------


def _bridges(section: Section, converted: Converted) -> None:
    for kind, node in section.values.items():
        nodes = node.values.get("nodes") if isinstance(node, Section) else None
        if not isinstance(node, Section) or not isinstance(nodes, Items):
            _merge(converted.tree, "bridges", {kind: plain(node)})
            continue
        for index, one in enumerate(nodes.items):
            bridge = plain(one)
            if not isinstance(bridge, dict):
                raise ConvertError(f"{one.place}: bridges.{kind}.nodes[{index}]: write a section {{ ... }}")
            put(
                converted.tree,
                ("bridges", kind, str(bridge.get("name") or f"node{index}")),
                bridge_of_node(bridge),
            )
        if "sqlite" in node.values:
            place = node.values["sqlite"].place
            converted.note(place, f"bridges.{kind}.sqlite", "not served here, left out")
