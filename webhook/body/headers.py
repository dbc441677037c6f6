"""Headers of events, for backends that carry some beside the body."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from pybroker.broker import events

from ..parcels import Delivery, Headers
from .template import compile_template


class HeaderTemplates:
    """The ``headers`` of a configuration, with ``{topic}`` and other fields filled in; also the user
    properties of a message, if a prefix for them is configured."""

    def __init__(self, headers: Iterable[tuple[str, str]], user_properties: str | None = None) -> None:
        """``user_properties`` is the prefix of the name of each user property, so that none is mistaken for
        another header."""
        self._templates = [(name.lower(), compile_template(value)) for name, value in headers]
        self._prefix = user_properties

    def __call__(self, event: events.Event) -> Headers:
        found = tuple([(name, render(event)) for name, render in self._templates])
        if self._prefix is not None and (properties := getattr(event, "user_properties", ())):
            found += tuple([(self._prefix + _token(name), value) for name, value in properties])
        return found


MAX_NAME = 100
"""The longest name of a user property, in characters; AMQP's headers have short names."""
_OTHER = re.compile(r"[^A-Za-z0-9_.~-]")


def _token(name: str) -> str:
    """A name that every protocol accepts; other characters are escaped as in a URL."""
    return quote(name, safe="")[:MAX_NAME] if _OTHER.search(name) else name[:MAX_NAME]


def own_headers(event: Delivery) -> Headers:
    """The headers that are sent: all except the addresses, whose names begin with a colon."""
    return tuple([pair for pair in event.headers if pair[0][0] != ":"])


def address_of(event: Delivery, name: str, default: str = "") -> str:
    """The value that ``address`` returned for ``:name`` when the event happened."""
    name = f":{name}"
    return next((value for key, value in event.headers if key == name), default)


def content_type(headers: Headers) -> str:
    return next((value for name, value in headers if name == "content-type"), "application/json")
