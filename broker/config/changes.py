"""Compares two configurations, for a reload: the changed keys, and whether each needs a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from ..outgoing.urls import shown_url
from .schema import ROWS, Row
from .settings import Settings

NAMED = ("listeners", "webhook", "event_pusher", "bridges.mqtt")
"""Sections that have names chosen by the user, which the schema does not know."""

_ABSENT = object()

_SECTIONS = {
    "daemon": "system.daemon",
    "workers": "system.workers",
    "drain_timeout": "system.drain_timeout",
    "webhooks": "webhook",
    "event_pushers": "event_pusher",
    "bridges": "bridges.mqtt",
    "presets": "preset.session",
    "faults": "faults.rules",
}
"""The fields of `Settings` that do not have the names of their sections."""

_KEYS: dict[str, str] = {
    "LogSettings.rotation_size": "rotation.size",
    "LogSettings.rotation_count": "rotation.count",
    "AuthSettings.passwords": "password",
    "AuthSettings.acl_enable": "acl.enable",
    "AuthSettings.acl_partial": "acl.partial",
    "AuthSettings.acl": "acl.rules",
    "AuthSettings.cache_max_size": "cache.max_size",
    "JwtSettings.public_keyfile": "public.keyfile",
    "HttpServerSettings.host": "ip_addr",
    "HttpServerSettings.jwt_public_keyfile": "jwt.public.keyfile",
    "SqliteSettings.path": "mounted_file_path",
    "HttpServerSettings.read_only_username": "read_only.username",
    "HttpServerSettings.read_only_password": "read_only.password",
    "HttpServerSettings.read_only_token": "read_only.token",
    "ListenerSettings.host": "bind",
    "ListenerSettings.port": "bind",
    "ListenerSettings.path": "bind",
    "ListenerSettings.tls": "",
    "PresetSession.subscriptions": "topic",
    "BridgeSettings.servers": "server",
    "BridgeSettings.versions": "proto_ver",
    "BridgeSettings.subscriptions": "subscription",
    "BridgeSettings.options": "",
    "BridgeSettings.tls": "",
    "BridgeSettings.socket": "",
    "BridgeSettings.max_queue": "max_send_queue_len",
    "BridgeTls.key_password": "ssl.key_password",
    "WebhookSettings.rules": "events",
    "WebhookSettings.options": "",
    "WebhookSettings.encoding": "body.encoding",
    "WebhookSettings.format": "body.format",
    "WebhookSettings.cloudevents_mode": "body.cloudevents_mode",
    "WebhookSettings.queue_max_events": "queue.max_events",
    "WebhookSettings.queue_max_bytes": "queue.max_bytes",
    "WebhookSettings.overflow": "queue.overflow",
    "WebhookSettings.breaker_failures": "breaker.failures",
    "WebhookSettings.secrets": "secret",
}
"""The fields of settings whose keys have other names. A field with an empty name has the keys of the section
above it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key whose value differs in the new file."""

    key: str
    old: str
    """In readable form, without secrets."""
    new: str
    applied: bool
    """Whether it takes effect now; otherwise it needs a restart."""

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}" + ("" if self.applied else " (needs a restart)")


def compare(old: Settings, new: Settings) -> tuple[Settings, list[Change]]:
    """The settings after a reload, and all changes of the new file."""
    changes: list[Change] = []
    held: dict[str, Any] = {}
    for field in fields(Settings):
        if field.name in ("source", "warnings"):
            continue
        before, after = (getattr(settings, field.name) for settings in (old, new))
        named = _is_named(before) or _is_named(after)
        if named:
            before, after = ({one.name: one for one in many} for many in (before, after))
        found = _merged(_SECTIONS.get(field.name, field.name), before, after, changes)
        held[field.name] = tuple(found.values()) if named else found
    return replace(new, **held), changes


def row_of(key: str) -> Row | None:
    """The schema's row of a key of a file, which may contain the names of listeners, endpoints and users.
    None for a whole section."""
    if key in ROWS:
        return ROWS[key]
    parts = key.split(".")
    # listeners.tcp.NAME.bind is listeners.tcp.bind, webhook.NAME.url is webhook.url
    for cut in range(1, len(parts)):
        for name in ([], ["NAME"]):
            row = ROWS.get(".".join((*parts[:cut], *name, *parts[cut + 1 :])))
            if row is not None:
                return row
    return next((row for row in _above(parts) if row.shape in ("map", "section")), None)


def reloads(key: str) -> bool:
    """Whether a reload applies a change of this key; for a section, of all its keys."""
    row = row_of(key)
    if row is not None:
        return row.reload
    prefix = next((f"{name}." for name in NAMED if key.startswith(f"{name}.")), f"{key}.")
    below = [row for name, row in ROWS.items() if name.startswith(prefix) and not row.accepted]
    return bool(below) and all(row.reload for row in below)


def _above(parts: list[str]) -> Iterator[Row]:
    for length in range(len(parts) - 1, 0, -1):
        row = ROWS.get(".".join(parts[:length]))
        if row is not None:
            yield row


def _is_named(value: Any) -> bool:
    """Listeners, endpoints and the like, which are recognised by their names."""
    return isinstance(value, tuple) and bool(value) and hasattr(value[0], "name")


def _merged(key: str, old: Any, new: Any, changes: list[Change]) -> Any:
    """The settings in force: the new value if a reload applies it, otherwise the old one."""
    if old == new:
        return old
    if is_dataclass(new) and not isinstance(new, type) and type(old) is type(new):
        return replace(
            new,
            **{
                field.name: _merged(
                    _join(key, _KEYS.get(f"{type(new).__name__}.{field.name}", field.name)),
                    getattr(old, field.name),
                    getattr(new, field.name),
                    changes,
                )
                for field in fields(new)
            },
        )
    if isinstance(old, Mapping) and isinstance(new, Mapping) and key != "plugins":
        names = dict.fromkeys((*old, *new))
        found = {
            name: _merged(
                _join(key, name if name != key else ""),
                old.get(name, _ABSENT),
                new.get(name, _ABSENT),
                changes,
            )
            for name in names
        }
        return {name: value for name, value in found.items() if value is not _ABSENT}
    applied = reloads(key)
    row = row_of(key)
    changes.append(Change(key, _shown(old, row), _shown(new, row), applied))
    return new if applied else old


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if name else key


def _shown(value: Any, row: Row | None) -> str:
    if value is _ABSENT or value is None:
        return "none"
    if row is not None and (row.kind.secret or row.shape == "map"):
        return "(hidden)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) and "://" in value:
        return shown_url(value)
    if isinstance(value, int | str | Path):
        return str(value)
    if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        return ", ".join(value) or "none"
    if isinstance(value, tuple | Mapping):
        return f"{len(value)} {'entry' if len(value) == 1 else 'entries'}"
    return "set"
