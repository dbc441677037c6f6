"""Converts the flat format to today's sections."""

from __future__ import annotations

import json
import re
from typing import Any

from ..guard import may_guard
from ..listener_url import listener_of_url
from ..tree import Place, Text
from .bridge import FlatBridge
from .convert import Converted
from .errors import ConvertError, not_understood
from .flat_lines import Line
from .names import RENAMED, WITHOUT_EFFECT, is_served
from .write import put

_KEPT = re.compile(
    r"""http_server\.(?:enable|port|parallel|max_body|username|password|ip_addr|auth_type|jwt\.public\.keyfile)
      | log\.(?:level|dir|file|rotation\.(?:size|count))""",
    re.X,
)
"""Keys that are written today as they were."""
_AS_WRITTEN = re.compile(r"password|key_password|keypass|username|login|clientid")
"""Last parts of keys in whose values quotes are part of the value."""
_USER = re.compile(r"auth\.(\d+)\.(login|username|password)")
_RULE = re.compile(r"acl\.rule\.(\d+)")
_EVENT = re.compile(r"web\.hook\.rule\.[\w.]+")
_HEADER = re.compile(r"web\.hook\.headers\.(.+)")
_REQUEST_HEADER = re.compile(r"auth\.http\.(auth_req|super_req|acl_req)\.headers\.(.+)")
_REQUEST_PARAMS = re.compile(r"auth\.http\.(auth_req|super_req|acl_req)\.params")
_REQUEST_TLS = re.compile(r"auth\.http\.ssl\.(keyfile|certfile|cacertfile)")
_BRIDGE = re.compile(r"bridge\.mqtt\.(.+)")
_PARTS_OF_THEIR_OWN = {"bridge", "aws", "rule", "rule_option", "gateway", "web", "auth", "acl", "sqlite"}
"""First parts of keys that stood in files of their own, beside the one with the addresses."""


class FlatFiles:
    """All lines of one or more files. What needs several lines is made by :meth:`finish`."""

    def __init__(self, converted: Converted) -> None:
        self._converted = converted
        self._lines: dict[str, Line] = {}
        self._users: dict[int, dict[str, str]] = {}
        self._rules: dict[int, Any] = {}
        self._events: list[dict[str, Any]] = []
        self._left_out: dict[str, list[Line]] = {}
        """Lines of unsupported features, by the first part of their keys."""
        self._bridge = FlatBridge(converted)

    def add(self, lines: list[Line]) -> None:
        for line in lines:
            self._lines[line.key] = line

    def finish(self) -> None:
        """Raises ConvertError where access control is not understood."""
        if not self._lines:
            return
        self._addresses()
        for line in self._lines.values():
            if line.value:
                self._line(line)
            elif is_served(line.key) and may_guard(line.key, Text("", line.place)):
                raise not_understood(line.place, line.key)
        self._access()
        if self._events:
            put(self._converted.tree, "webhook.events", self._events)
        self._bridge.finish()
        self._off_unless_said()
        for part, lines in self._left_out.items():
            key = lines[0].key if len(lines) == 1 else f"{part}.* ({len(lines)} lines)"
            self._converted.note(lines[0].place, key, "not served here, left out")

    def _value(self, key: str, default: str = "") -> str:
        line = self._lines.get(key)
        return line.value.strip('"') if line and line.value else default

    def _is_on(self, key: str, *, default: bool) -> bool:
        return self._value(key, str(default)).lower() in ("true", "on", "yes", "1")

    def _put(self, path: str | tuple[str, ...], value: Any) -> None:
        put(self._converted.tree, path, value)

    # -- listeners ----------------------------------------------------------------------------------------

    def _addresses(self) -> None:
        """A file without ``url`` was served at every address."""
        beside = "listeners" in self._converted.tree
        if not beside and any(key.split(".")[0] not in _PARTS_OF_THEIR_OWN for key in self._lines):
            self._bind("url", self._value("url", "nmq-tcp://0.0.0.0:1883"), "tcp")
        else:
            self._bind("url", self._value("url"), "tcp")
        self._bind("tls.url", self._value("tls.url"), "ssl")
        self._bind("websocket.url", self._value("websocket.url"), "ws")
        self._bind("websocket.tls_url", self._value("websocket.tls_url"), "wss")
        if "websocket.tls_url" in self._lines:
            secure = self._is_on("websocket.tls_enable", default=True) and self._is_on(
                "tls.enable", default=False
            )
            self._put("listeners.wss.enable", str(secure).lower())

    def _bind(self, key: str, url: str, kind: str) -> None:
        if not url:
            return
        try:
            found, bind = listener_of_url(url if "://" in url else f"nmq-{kind}://{url}")
        except ValueError as error:
            raise ConvertError(f"{self._lines[key].place}: {key}: {error}") from None
        self._put(f"listeners.{found}.bind", bind)

    # -- one line -----------------------------------------------------------------------------------------

    def _line(self, line: Line) -> None:
        key = line.key
        last = key.rpartition(".")[2]
        value = line.value if _AS_WRITTEN.fullmatch(last) else line.value.strip('"')
        if renamed := RENAMED.get(key):
            self._put(renamed.new, renamed.convert(value))
        elif _KEPT.fullmatch(key):
            self._put(key, value)
        elif key in ("url", "tls.url", "websocket.url", "websocket.tls_url", "websocket.tls_enable"):
            return
        elif key in WITHOUT_EFFECT or key == "http_server.jwt.private.keyfile":
            self._converted.note(line.place, key, "has no effect here, left out")
        elif key == "log.to":
            self._put(key, [word.strip() for word in value.split(",")])
        elif match := _USER.fullmatch(key):
            name = "password" if match[2] == "password" else "login"
            self._users.setdefault(int(match[1]), {})[name] = value
        elif match := _RULE.fullmatch(key):
            self._rules[int(match[1])] = _json(line)
        elif _EVENT.fullmatch(key):
            self._event(line)
        elif match := _HEADER.fullmatch(key):
            self._put(("webhook", "headers", match[1]), value)
        elif match := _REQUEST_HEADER.fullmatch(key):
            self._put(("auth", "http_auth", match[1], "headers", match[2]), value)
        elif match := _REQUEST_PARAMS.fullmatch(key):
            self._put(("auth", "http_auth", match[1], "params"), _pairs(value, line.place, key))
        elif match := _REQUEST_TLS.fullmatch(key):
            for request in ("auth_req", "super_req", "acl_req"):
                if f"auth.http.{request}.url" in self._lines:
                    self._put(("auth", "http_auth", request, "tls", match[1]), value)
        elif match := _BRIDGE.fullmatch(key):
            self._bridge.add(match[1], value, line.place)
        elif is_served(key) and may_guard(key, Text(value, line.place)):
            raise not_understood(line.place, key)
        else:
            part = ".".join(key.split(".")[: 2 if key.startswith("bridge.") else 1])
            self._left_out.setdefault(part, []).append(line)

    def _event(self, line: Line) -> None:
        rule = _json(line)
        event = rule.get("action") or rule.get("event")
        if not event:
            self._converted.note(line.place, line.key, "has no action, left out")
            return
        self._events.append({"event": event} | ({"topic": rule["topic"]} if rule.get("topic") else {}))

    # -- several lines ------------------------------------------------------------------------------------

    def _access(self) -> None:
        for number, user in sorted(self._users.items()):
            if user.keys() != {"login", "password"}:
                where = next(line for key, line in self._lines.items() if key.startswith(f"auth.{number}."))
                raise ConvertError(
                    f"{where.place}: auth.{number}: needs both auth.{number}.login and auth.{number}.password"
                )
            self._put(("auth", "password", user["login"]), user["password"])
        if self._rules:
            acl = self._converted.tree.setdefault("auth", {}).setdefault("acl", {})
            acl["rules"] = acl.get("rules", []) + [rule for _, rule in sorted(self._rules.items())]

    def _off_unless_said(self) -> None:
        """What once was off without ``enable = true`` is on today where its section is there."""
        for key, section in {
            "tls.": "listeners.ssl",
            "http_server.": "http_server",
            "web.hook.": "webhook",
            "auth.http.": "auth.http_auth",
        }.items():
            if f"{key}enable" not in self._lines and any(name.startswith(key) for name in self._lines):
                self._put(f"{section}.enable", "false")


def _json(line: Line) -> dict[str, Any]:
    try:
        value = json.loads(line.value)
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"{line.place}: {line.key}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConvertError(f'{line.place}: {line.key}: write an object such as {{"permit": "allow"}}')
    return value


def _pairs(value: str, place: Place, key: str) -> dict[str, str]:
    """``clientid=%c,username=%u``"""
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    if not all(separator for _, separator, _ in pairs):
        raise ConvertError(f"{place}: {key}: write NAME=VALUE,NAME=VALUE")
    return {name.strip(): words.strip() for name, _, words in pairs}
