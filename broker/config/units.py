"""The types of values: each parses a text, or raises ValueError, and describes the allowed values."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pybroker.webhook.body.template import FIELDS, TemplateError, compile_template

from ..bridge.settings import Address as RemoteAddress
from ..outgoing.urls import shown_url
from ..routing.topics import filter_error

KB, MB, GB = 1 << 10, 1 << 20, 1 << 30
NEVER = 4294967295.0
"""MQTT's session expiry interval that means never to expire."""

_SIZES = {"": 1, "b": 1, "k": KB, "kb": KB, "m": MB, "mb": MB, "g": GB, "gb": GB}
_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_FLAGS = {
    "true": True,
    "false": False,
    "on": True,
    "off": False,
    "yes": True,
    "no": False,
    "1": True,
    "0": False,
}


class UnfitError(ValueError):
    """A value that is not allowed, with a message that says more than the list of allowed values."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of values."""

    unit: str
    """A short name for tables of keys."""
    allowed: str
    """The end of the sentence "found X; allowed: ..."."""
    parse: Callable[[str], Any]
    """Raises ValueError, `UnfitError` among them."""
    secret: bool = False
    shown: Callable[[str], str] | None = None
    """The part of an invalid text that errors may show, if it may contain a secret."""
    """Never shown in a message."""


def size(low: int = 0, high: int | None = None) -> Kind:
    """Bytes: ``512``, ``64KB``, ``10MB``; the units are powers of 1024, in any case."""

    def parse(text: str) -> int:
        number, factor = _quantity(text, _SIZES)
        value = number * factor
        if value != int(value):
            raise ValueError
        return int(_within(value, low, high))

    bounds = _bounds(low, high, lambda value: _shortest(value, ("GB", "MB", "KB", "B"), _SIZES))
    return Kind("size", f"a size such as 512, 64KB or 10MB{bounds}", parse)


def time(low: float = 0, high: float | None = None, *, bare: str = "s", never: bool = False) -> Kind:
    """Seconds: ``500ms``, ``10s``, ``5m``, ``2h``, ``7d``. ``bare`` is the unit of a number without one."""
    units = {**_TIMES, "": _TIMES[bare]}

    def parse(text: str) -> float:
        if never and text.lower() == "never":
            return NEVER
        number, factor = _quantity(text, units)
        return _within(number / 1000 if factor == 0.001 else number * factor, low, high)

    bounds = _bounds(low, high, lambda value: _shortest(value, ("d", "h", "m", "s", "ms"), _TIMES))
    words = "a time such as 500ms, 10s, 5m, 2h or 7d" + ", or never" * never
    plain = "milliseconds" if bare == "ms" else "seconds"
    return Kind(f"time ({plain})", f"{words} (a bare number is {plain}){bounds}", parse)


def whole(low: int = 0, high: int | None = None) -> Kind:
    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise ValueError
        return int(_within(int(text), low, high))

    return Kind("number", f"a whole number{_bounds(low, high, str)}", parse)


def number(low: float = 0, high: float | None = None) -> Kind:
    def parse(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError
        return _within(value, low, high)

    return Kind("number", f"a number{_bounds(low, high, str)}", parse)


def flag() -> Kind:
    def parse(text: str) -> bool:
        try:
            return _FLAGS[text.lower()]
        except KeyError:
            raise ValueError from None

    return Kind("true or false", "true or false", parse)


def choice(*words: str) -> Kind:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return Kind(" \\| ".join(words), ", ".join(words), parse)


def text(*, secret: bool = False) -> Kind:
    def parse(value: str) -> str:
        if not value:
            raise ValueError
        return value

    return Kind("text", "text that is not empty", parse, secret)


def any_text(*, secret: bool = False) -> Kind:
    return Kind("text", "text", lambda value: value, secret)


def header_value() -> Kind:
    def parse(value: str) -> str:
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise ValueError
        return value

    return Kind("text", "text without line breaks and other control characters", parse)


def name_prefix() -> Kind:
    """The prefix of the names of headers."""

    def parse(value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", value):
            raise ValueError
        return value

    return Kind("text", "1 to 40 letters, digits and _ . -, such as mqtt-", parse)


def subject_token() -> Kind:
    """A token of a subject of NATS, and a name in logs."""

    def parse(value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
            raise ValueError
        return value

    return Kind("text", "1 to 64 letters, digits and _ -", parse)


def path() -> Kind:
    """Text. Whoever uses it checks whether the file exists."""
    return Kind("file", "a path", text().parse)


def url() -> Kind:
    def parse(value: str) -> str:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError if it is not a number
        if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", value):
            raise ValueError
        return value

    example = "a URL such as http://127.0.0.1:8888/hook or https://example.org/hook"
    return Kind("URL", example, parse, shown=shown_url)


def topic_filter() -> Kind:
    def parse(value: str) -> str:
        problem = filter_error(value)
        if problem:
            raise UnfitError(problem)
        return value

    return Kind("topic filter", "a topic filter such as a/b, a/+/c or a/#", parse)


def acl_topic() -> Kind:
    """``@`` makes a topic literal; ``${clientid}`` and ``${username}`` stand for the client's own."""

    def parse(value: str) -> str:
        if not value.startswith("@"):
            topic_filter().parse(value.replace("${clientid}", "x").replace("${username}", "x"))
        elif len(value) == 1:
            raise ValueError
        return value

    return Kind(
        "topic filter",
        "a topic filter such as a/b or a/#, ${clientid} and ${username} in it, or @ and a topic",
        parse,
    )


def function() -> Kind:
    pattern = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")

    def parse(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError
        return value

    return Kind("Python callable", "package.module:function", parse)


BACKENDS = ("rabbit", "nats", "redis", "kafka", "sns", "push", "http", "mqtt-topic")


def backend() -> Kind:
    """A backend for events: one of pybroker's, or a class of the user."""

    def parse(value: str) -> str:
        return value if value in BACKENDS else str(function().parse(value))

    return Kind("backend", f"{', '.join(BACKENDS)}, or package.module:Class", parse)


def template(*more: str) -> Kind:
    """Text with placeholders such as ``{topic}``, and with the placeholders that ``more`` names."""

    def parse(value: str) -> str:
        try:
            compile_template(value, more=dict.fromkeys(more, str))
        except TemplateError as error:
            raise UnfitError(str(error)) from None
        return header_value().parse(value)  # type: ignore[no-any-return]

    return Kind("template", f"text, in which {', '.join((*FIELDS, *more))} may stand in braces", parse)


def server() -> Kind:
    """The URL of a server, with the schemes of the backend."""

    def parse(value: str) -> str:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError if it is not a number
        if not parts.scheme or not parts.netloc or re.search(r"\s", value):
            raise ValueError
        return value

    example = "a URL such as amqp://127.0.0.1:5672/ or nats://127.0.0.1:4222"
    return Kind("URL", example, parse, secret=True, shown=shown_url)


def origin() -> Kind:
    """The origin of a web page, as a browser writes it: scheme and host, and the port if it is not the
    scheme's default."""

    def parse(value: str) -> str:
        if value == "*":
            raise UnfitError("every page could read and change everything; name each origin")
        parts = urlsplit(value)
        usual = {"http": 80, "https": 443}
        if parts.scheme not in usual or not parts.hostname or re.search(r"[\s*@?#]", value):
            raise ValueError
        if parts.path:
            raise UnfitError(f"an origin has no path; write {parts.scheme}://{parts.netloc}")
        port = "" if parts.port in (None, usual[parts.scheme]) else f":{parts.port}"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}{port}"

    return Kind("origin", "http or https, a host and perhaps a port, such as https://app.example", parse)


SCHEMES = {"mqtt-tcp": 1883, "tls+mqtt-tcp": 8883, "ws": 80, "wss": 443, "mqtt": 1883, "mqtts": 8883}
"""The schemes of a remote broker, and their ports. The last two are other names of the first two."""


QUIC = ("mqtt-quic", "quic")


def bridge_server() -> Kind:
    """The URL of a remote broker."""

    def parse(value: str) -> RemoteAddress:
        scheme, separator, rest = value.partition("://")
        if scheme in QUIC:
            return RemoteAddress(value, scheme)
        if scheme == "unix" and rest:
            return RemoteAddress(value, scheme, path=rest)
        parts = urlsplit(f"//{rest}" if separator else f"//{value}")
        if not separator and parts.hostname and parts.port and not parts.path:
            return RemoteAddress(value, "", parts.hostname, parts.port)  # as `bridges.aws` has it
        if scheme not in SCHEMES or not separator or not parts.hostname or re.search(r"\s", value):
            raise ValueError
        if parts.username is not None or parts.password is not None:
            raise UnfitError("user name and password have keys of their own: username, password")
        if parts.path and scheme not in ("ws", "wss"):
            raise UnfitError("there is no path in MQTT over TCP")
        scheme = {"mqtt": "mqtt-tcp", "mqtts": "tls+mqtt-tcp"}.get(scheme, scheme)
        # urlsplit lowers the host, and raises ValueError if the port is not a number
        return RemoteAddress(value, scheme, parts.hostname, parts.port or SCHEMES[scheme], parts.path)

    allowed = "mqtt-tcp://HOST:PORT, tls+mqtt-tcp://HOST:PORT, ws://HOST:PORT/PATH, wss://HOST:PORT/PATH"
    return Kind("URL", f"{allowed} or unix:///PATH", parse, shown=shown_url)


def signing_secret() -> Kind:
    """A Standard Webhooks secret."""

    def parse(value: str) -> str:
        try:
            key = base64.b64decode(value.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError from None
        if not value.startswith("whsec_") or not key:
            raise ValueError
        return value

    return Kind("secret", "whsec_ and base64, as Standard Webhooks has it", parse, secret=True)


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int
    path: str = ""


def bind(port: int, *, path: str | None = None) -> Kind:
    """The address of a listener.

    ``port`` is the default for an address without a port. The address of a WebSocket may end with a path, for
    which ``path`` is the example; None: a path is not allowed.
    """
    pattern = re.compile(
        r"""(?: (?P<only>\d+) | (?P<host>\[[:.%\w]+\]|\w[\w.-]*|(?=:)) (?: : (?P<port>\d+) )? )
            (?P<path>/\S*)?""",
        re.X | re.ASCII,
    )

    def parse(value: str) -> Address:
        match = pattern.fullmatch(value)
        if not match or (match["path"] and path is None):
            raise ValueError
        chosen = match["only"] or match["port"]
        found = int(chosen) if chosen else port
        if found > 65535:
            raise UnfitError(f"{found} is no port; ports are 0 to 65535")
        every = "0.0.0.0"  # noqa: S104 - ":1883" means every interface
        host = "127.0.0.1" if match["only"] else match["host"].strip("[]") or every
        return Address(host, found, match["path"] or "")

    tail = path or ""
    examples = f'"127.0.0.1:{port}{tail}", "0.0.0.0:{port}{tail}", "[::1]:{port}{tail}", ":{port}" or {port}'
    return Kind("address", f"host and port, such as {examples}", parse)


def _quantity(value: str, units: dict[str, Any]) -> tuple[float, float]:
    match = _QUANTITY.fullmatch(value.strip())
    if not match or match[2].lower() not in units:
        raise ValueError
    amount: float = int(match[1]) if match[1].isdigit() else float(match[1])
    if not math.isfinite(amount):
        raise ValueError
    return amount, units[match[2].lower()]


def _within(value: float, low: float, high: float | None) -> float:
    if value < low or (high is not None and value > high):
        raise ValueError
    return value


def _bounds(low: float, high: float | None, show: Callable[[Any], str]) -> str:
    if high is not None:
        return f", {show(low)} to {show(high)}"
    return f", at least {show(low)}" if low else ""


def _shortest(value: float, names: tuple[str, ...], units: dict[str, Any]) -> str:
    """A size in readable form: ``10MB`` and not ``10485760``."""
    if value:
        for name in names:
            count = value / units[name.lower()]
            if count >= 1 and count == int(count):
                return f"{int(count)}{name}"
    return "0" if not value else f"{value}"
