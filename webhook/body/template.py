"""Texts that depend on the event: ``device.{clientid}.{action}``."""

from __future__ import annotations

import re
from collections.abc import Callable

from pybroker.broker import events

from .encode import ACTIONS
from .formats import subject


class TemplateError(ValueError):
    """The text is no template; the message says why."""


Render = Callable[[events.Event], str]


def _client(event: events.Event) -> events.Client | None:
    return getattr(event, "client", None) or getattr(event, "publisher", None)


def _username(event: events.Event) -> str:
    client = _client(event)
    return (client.username or "") if client else ""


FIELDS: dict[str, Render] = {
    "topic": lambda event: subject(event)[0] or "",
    "clientid": lambda event: subject(event)[1],
    "username": _username,
    "action": lambda event: ACTIONS[type(event)],
    "qos": lambda event: str(getattr(event, "qos", "")),
    "retain": lambda event: str(getattr(event, "retain", "")).lower(),
}
"""What may stand in braces. What an event does not have is empty."""


def compile_template(text: str, shape: Callable[[str, str], str] = lambda name, value: value) -> Render:
    """From an event to the text. ``shape(name, value)`` changes each value on its way in. Raises
    TemplateError."""
    pieces = re.split(r"\{([^{}]*)\}", text)
    if any("{" in piece or "}" in piece for piece in pieces[::2]):
        raise TemplateError("a brace has no partner")
    for name in pieces[1::2]:
        if name not in FIELDS:
            raise TemplateError(
                f"{{{name}}} is not known; there are {', '.join(f'{{{one}}}' for one in FIELDS)}"
            )
    if len(pieces) == 1:
        return lambda event: text

    def render(event: events.Event) -> str:
        rendered = list(pieces)
        for at in range(1, len(pieces), 2):
            rendered[at] = shape(pieces[at], FIELDS[pieces[at]](event))
        return "".join(rendered)

    return render
