"""The API in OpenAPI 3.1, made from its routes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .. import __version__
from .answers import Code
from .calls import Route

_ANSWER = {
    "type": "object",
    "properties": {
        "code": {"type": "integer", "enum": [int(code) for code in Code]},
        "data": {"description": "What was asked for; each resource has its own."},
        "message": {"type": "string", "description": "Why the request is refused, for people."},
        "meta": {
            "type": "object",
            "description": "With _page or _limit: which part of the list this is.",
            "properties": {key: {"type": "integer"} for key in ("page", "limit", "count")},
            "required": ["page", "limit", "count"],
        },
    },
    "required": ["code"],
}
_MEMBER = {
    "type": "object",
    "properties": {
        "topic": {"type": "string"},
        "topics": {"type": "string", "description": "Several, with commas."},
        "payload": {"type": "string"},
        "encoding": {"type": "string", "description": "base64: the payload is decoded first."},
        "qos": {"type": "integer", "minimum": 0, "maximum": 2},
        "retain": {"type": "boolean"},
        "clientid": {"type": "string"},
        "properties": {"type": "object"},
    },
}
_METRICS = {
    "type": "object",
    "properties": {
        "metrics": {"type": "array"},
        "cpuinfo": {"type": "string"},
        "memory": {"type": "string"},
        "connections": {"type": "integer"},
    },
    "required": ["metrics", "cpuinfo", "memory", "connections"],
}
_REFUSALS = {
    "400": "The request is not understood.",
    "401": "Without credentials, or with wrong ones.",
    "403": "Read-only credentials, or a page of another site.",
    "404": "There is no such thing.",
    "408": "The body did not come in time.",
    "413": "The body is larger than http_server.max_body.",
    "503": "Too many others ask for the like.",
}
_NUMBER = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
_NUMBERS = {"type": "string", "pattern": "^[0-9]{1,9}(,[0-9]{1,9})*$"}
"""One for each worker."""
_PAGED = (
    "/clients",
    "/subscriptions",
    "/retained",
    "/routes",
    "/sessions",
    "/clients/username/:username",
    "/push",
)


def document(routes: Sequence[Route]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    names: Counter[str] = Counter()
    for route in routes:
        path = re.sub(r":(\w+)", r"{\1}", route.path) or "/"
        names[route.name] += 1
        suffix = f"_{names[route.name]}" if names[route.name] > 1 else ""
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, route.name + suffix)
    return {
        "openapi": "3.1.0",
        "info": {"title": "pybroker", "version": __version__, "description": "NanoMQ's API v4, and ours."},
        "servers": [{"url": "/api/v4"}],
        "security": [{"basic": []}, {"bearer": []}, {}],
        "paths": paths,
        "components": {
            "schemas": {"Answer": _ANSWER, "Message": _MEMBER, "Metrics": _METRICS},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(route: Route, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": name, "summary": route.summary, "tags": [_tag(route)]}
    if parameters := _parameters(route):
        found["parameters"] = parameters
    if (body := _body(route)) is not None:
        found["requestBody"] = {"required": True, "content": body}
    found["responses"] = {"200": {"description": "The answer.", "content": _content(route)}} | {
        status: {"description": words, "content": _json("Answer")} for status, words in _REFUSALS.items()
    }
    return found


def _tag(route: Route) -> str:
    return route.path.strip("/").split("/")[0] or "index"


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r":(\w+)", route.path)
    ]
    if route.method == "GET" and route.path in _PAGED:
        found += [{"name": name, "in": "query", "schema": _NUMBER} for name in ("_page", "_limit")]
    if route.path.endswith("/packets"):
        found.append({"name": "after", "in": "query", "schema": _NUMBER})
    if route.path.endswith("/deliveries"):
        found.append({"name": "after", "in": "query", "schema": _NUMBERS})
    if route.path == "/retained/:topic" and route.method == "GET":
        found.append({"name": "limit", "in": "query", "schema": _NUMBER})
    return found


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _content(route: Route) -> dict[str, Any]:
    if route.path == "/prometheus":
        return {"text/plain": {"schema": {"type": "string"}}}
    if route.path == "/metrics":
        return _json("Metrics")
    if route.path == "/openapi.json":
        return {"application/json": {"schema": {"type": "object"}}}
    return _json("Answer")


def _body(route: Route) -> dict[str, Any] | None:
    """The schema of the body; None if no body is read."""
    if route.method not in ("POST", "PUT") or route.path.startswith(("/ctrl", "/rules", "/webhooks")):
        return None
    if route.path == "/config_update":
        return {"text/plain": {"schema": {"type": "string"}}}
    if route.path.startswith("/mqtt/"):
        if route.path.endswith("_batch"):
            members = {"type": "array", "items": {"$ref": "#/components/schemas/Message"}}
            return {"application/json": {"schema": members}}
        return _json("Message")
    return {"application/json": {"schema": {"type": "object"}}}
