"""The notification for one device: texts from the event, and options of the device and the event pusher.
Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pybroker.broker import events

from ..body.headers import address_of
from ..body.template import Render, compile_template
from ..parcels import Delivery, Headers
from ..settings import SettingsError, WebhookSettings
from .registration import Registration

TITLE_BYTES, BODY_BYTES = 256, 2048
"""Longer texts are cut: FCM and APNs accept 4096 bytes in all."""
DATA_BYTES = 4096
"""The most bytes of one value of the data; no service accepts more."""
KEY_BYTES = 64
"""The most bytes of a collapse key, by APNs."""
_RESERVED = ("aps", "from", "gcm", "message_type", "notification")
"""Keys of data that APNs and FCM reserve."""

Waiting = Callable[[str], int]
"""A function from a client identifier to the number of messages that wait for it."""


@dataclass(frozen=True, slots=True)
class Notification:
    """Ready for a provider."""

    title: str
    body: str
    badge: int | None
    tag: str
    """A newer notification with the same tag replaces it on the device."""
    data: dict[str, str]
    silent: bool
    """Nothing is shown: the app is started and gets ``data``."""
    mode: str
    topic: str | None
    priority: str
    time_to_live: int | None
    """Seconds that the service keeps it for an unreachable device; None: the service's default."""
    sound: str | None
    click_action: str | None
    mutable_content: bool


class Texts:
    """The templates of one event pusher, filled in when an event happens."""

    def __init__(self, settings: WebhookSettings, waiting: Waiting) -> None:
        options = settings.options
        more: dict[str, Render] = {
            "payload": lambda event: getattr(event, "payload", b"").decode(errors="replace"),
            "waiting": lambda event: str(waiting(event.client.client_id)),  # type: ignore[attr-defined]
        }
        self._title = compile_template(options["alert.title"], more=more)
        self._body = compile_template(options["alert.body"], more=more)
        self._badge = compile_template(options["alert.badge"] or "", more=more)
        self._key = compile_template(options["collapse_key"], more=more)
        data = dict(options["data"]) or {"topic": "{topic}"}
        for name in data:
            if name in _RESERVED or name.startswith(("google", "gcm.")):
                raise SettingsError(
                    f"{settings.label}: data.{name}: APNs or FCM keep that name for themselves"
                )
        self._data = {name: compile_template(text, more=more) for name, text in data.items()}

    def address(self, event: events.MessageEvent) -> Headers:
        client: events.Client | None = getattr(event, "client", None)
        data = {name: _cut(render(event), DATA_BYTES) for name, render in self._data.items()}
        return (
            (":client", client.client_id if client else ""),
            (":key", _cut(self._key(event), KEY_BYTES)),
            (":title", _cut(self._title(event), TITLE_BYTES)),
            (":body", _cut(self._body(event), BODY_BYTES)),
            (":badge", self._badge(event)),
            (":data", json.dumps(data, ensure_ascii=False)),
        )


def compose(content: Delivery, device: Registration, options: Any) -> Notification:
    """``options`` are those of the event pusher; the options of the device override them."""
    badge = address_of(content, "badge")
    ttl: float | None = options["time_to_live"]
    mutable = device.mutable_content
    return Notification(
        title=address_of(content, "title"),
        body=address_of(content, "body"),
        badge=int(badge) if badge.isascii() and badge.isdigit() and len(badge) < 10 else None,
        tag=address_of(content, "key"),
        data=json.loads(address_of(content, "data", "{}")),
        silent=device.silent,
        mode=device.mode or options["mode"],
        topic=device.topic or options["apns.topic"] or None,
        priority=device.priority or options["priority"],
        time_to_live=None if ttl is None else round(ttl),
        sound=device.sound or options["alert.sound"] or None,
        click_action=device.click_action or options["alert.click_action"] or None,
        mutable_content=options["mutable_content"] if mutable is None else mutable,
    )


def _cut(text: str, size: int) -> str:
    data = text.encode(errors="replace")
    return text if len(data) <= size else data[: size - 3].decode(errors="ignore") + "…"
