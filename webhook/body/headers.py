"""Headers of events, for backends that carry some beside the body."""

from __future__ import annotations

from collections.abc import Iterable

from pybroker.broker import events

from ..parcels import Delivery, Headers
from .template import compile_template


class HeaderTemplates:
    """The ``headers`` of a configuration, with ``{topic}`` and so on filled in."""

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        self._templates = [(name.lower(), compile_template(value)) for name, value in headers]

    def __call__(self, event: events.Event) -> Headers:
        return tuple([(name, render(event)) for name, render in self._templates])


def own_headers(event: Delivery) -> Headers:
    """The headers that are sent: all except the addresses, whose names begin with a colon."""
    return tuple([pair for pair in event.headers if pair[0][0] != ":"])


def address_of(event: Delivery, name: str, default: str = "") -> str:
    """The value that ``address`` returned for ``:name`` when the event happened."""
    name = f":{name}"
    return next((value for key, value in event.headers if key == name), default)


def content_type(headers: Headers) -> str:
    return next((value for name, value in headers if name == "content-type"), "application/json")
