"""A device that a client has registered for notifications, as JSON says it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

MAX_PAYLOAD = 8192
"""Bytes of the JSON."""
SERVICES = ("apns", "fcm")
_LONGEST = {"device_id": 4096}
_TEXT = 256
"""Characters of the other texts."""
_CHOICES = {"service": SERVICES, "mode": ("prod", "dev"), "priority": ("normal", "high")}


class BadRegistrationError(ValueError):
    """The text is not a registration. The message says why, and contains no device identifier."""


@dataclass(frozen=True, slots=True)
class Registration:
    """One device of one client. Options that are None are those of the event pusher."""

    client: str
    service: str
    """``apns`` or ``fcm``."""
    device_id: str
    at: float = 0.0
    """When it was registered: seconds since the epoch."""
    mode: str | None = None
    """``prod`` or ``dev``; for APNs."""
    topic: str | None = None
    """The app's bundle identifier; for APNs."""
    priority: str | None = None
    sound: str | None = None
    click_action: str | None = None
    silent: bool = False
    """The app is started, and nothing is shown."""
    mutable_content: bool | None = None
    """The app may change the notification before it is shown; for APNs."""

    @property
    def key(self) -> tuple[str, str]:
        """Identifies it among the devices of its client."""
        return self.service, self.device_id

    @property
    def size(self) -> int:
        """About the bytes that it takes in memory."""
        return 600 + 2 * (len(self.client) + len(self.device_id))

    def options(self) -> dict[str, Any]:
        """The options that were given, besides client, service and device."""
        every = asdict(self)
        return {name: every[name] for name in _OPTIONS if every[name] not in (None, False)}


_OPTIONS = tuple(field.name for field in fields(Registration) if field.name not in ("client", "at"))[2:]
_FLAGS = ("silent", "mutable_content")
FIELDS = ("service", "device_id", *_OPTIONS)
"""The keys that a registration may have."""


def read(payload: bytes) -> dict[str, Any]:
    """Parse the JSON object of a message. Raises BadRegistrationError."""
    if len(payload) > MAX_PAYLOAD:
        raise BadRegistrationError(f"it has {len(payload)} bytes; {MAX_PAYLOAD} are allowed")
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        raise BadRegistrationError("it is not JSON") from None
    if not isinstance(found, dict):
        raise BadRegistrationError("it is not a JSON object")
    return found


def registration(client: str, wanted: Mapping[str, Any], at: float) -> Registration:
    """The registration from a JSON object such as ``{"service": "fcm", "device_id": "..."}``. Raises
    BadRegistrationError."""
    _refuse_others(wanted, FIELDS)
    values = {key: _checked(key, value) for key, value in wanted.items() if value is not None}
    for key in ("service", "device_id"):
        if key not in values:
            raise BadRegistrationError(f'"{key}" is missing')
    return Registration(client=client, at=at, **values)


def device_of(wanted: Mapping[str, Any]) -> str | None:
    """The device to remove; None: all devices of the client. Raises BadRegistrationError."""
    _refuse_others(wanted, ("service", "device_id"))
    device = wanted.get("device_id")
    return None if device is None else str(_checked("device_id", device))


def _refuse_others(wanted: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    if unknown := [key for key in wanted if key not in allowed]:
        raise BadRegistrationError(f'"{unknown[0][:40]}" is not known; there are {", ".join(allowed)}')


def _checked(key: str, value: Any) -> Any:
    if key in _FLAGS:
        if not isinstance(value, bool):
            raise BadRegistrationError(f'"{key}" is true or false')
        return value
    longest = _LONGEST.get(key, _TEXT)
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise BadRegistrationError(f'"{key}" is a text of 1 to {longest} printable characters')
    if key in _CHOICES and value not in _CHOICES[key]:
        raise BadRegistrationError(f'"{key}" is one of {", ".join(_CHOICES[key])}')
    return value
