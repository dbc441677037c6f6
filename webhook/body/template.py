"""Texts that depend on the event: ``device.{clientid}.{action}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pybroker.broker import events

from .encode import ACTIONS
from .formats import subject


class TemplateError(ValueError):
    """The text is no template; the message says why."""


Render = Callable[[events.Event], str]


def _client(event: events.Event) -> events.Client | None:
    return getattr(event, "client", None) or getattr(event, "publisher", None)


def _publisher(event: events.Event) -> str:
    publisher: events.Client | None = getattr(event, "publisher", None)
    return publisher.client_id if publisher else ""


def _username(event: events.Event) -> str:
    client = _client(event)
    return (client.username or "") if client else ""


FIELDS: dict[str, Render] = {
    "topic": lambda event: subject(event)[0] or "",
    "clientid": lambda event: subject(event)[1],
    "username": _username,
    "publisher": _publisher,
    "action": lambda event: ACTIONS[type(event)],
    "qos": lambda event: str(getattr(event, "qos", "")),
    "retain": lambda event: str(getattr(event, "retain", "")).lower(),
}
"""The fields that a template may have in braces. A field that an event does not have is empty."""

USER_PROPERTY = "user_property."
"""The prefix of a user property's name: ``{user_property.unit}``. Of several with the same name it is the
first."""


def compile_template(
    text: str,
    shape: Callable[[str, str], str] = lambda name, value: value,
    more: Mapping[str, Render] = MappingProxyType({}),
) -> Render:
    """A function from an event to the text. ``shape(name, value)`` changes each value before it is inserted;
    ``more`` are further fields. Raises TemplateError."""
    fields = {**FIELDS, **more}
    pieces = re.split(r"\{([^{}]*)\}", text)
    if any("{" in piece or "}" in piece for piece in pieces[::2]):
        raise TemplateError("a brace is not closed or not opened")
    renders = [_render_of(name, fields) for name in pieces[1::2]]
    if not renders:
        return lambda event: text

    def render(event: events.Event) -> str:
        rendered = list(pieces)
        for at, value_of in enumerate(renders):
            rendered[2 * at + 1] = shape(pieces[2 * at + 1], value_of(event))
        return "".join(rendered)

    return render


def _render_of(name: str, fields: Mapping[str, Render]) -> Render:
    if name in fields:
        return fields[name]
    wanted = name.removeprefix(USER_PROPERTY)
    if wanted and wanted != name:
        return lambda event: next(
            (value for key, value in getattr(event, "user_properties", ()) if key == wanted), ""
        )
    known = ", ".join(f"{{{one}}}" for one in (*fields, f"{USER_PROPERTY}NAME"))
    raise TemplateError(f"{{{name}}} is not known; there are {known}")
