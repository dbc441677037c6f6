"""`event_pusher.NAME {}` to settings."""

from __future__ import annotations

from types import MappingProxyType

from pybroker.webhook.settings import WebhookSettings

from .reader import Report, Values, default, is_off, read
from .schema.event_pusher import OF_BACKEND, OF_SEVERAL, PREFIX
from .tree import Section, describe
from .units import BACKENDS
from .webhooks import endpoint

_BATCH_OF_PUSH = 8
"""Each event is sent in a request of its own. With the default `pool_size` there are 32 at a time."""
_EVENTS_OF_PUSH = ("on_message_queued",)
"""The events that are pushed without `events`."""


def event_pushers(root: Section, report: Report, drain_timeout: float) -> tuple[WebhookSettings, ...]:
    """Every event pusher that is on. ``drain_timeout`` is the default for those that set none."""
    section = root.section(PREFIX)
    if section is None or is_off(section):
        return ()
    found = []
    for name, node in section.values.items():
        if name == "enable":
            continue
        if not isinstance(node, Section):
            wanted = f"a section {{ }}: {PREFIX}.NAME {{ backend = ... }}"
            report.error(node.place, f"{PREFIX}.{name}", f"found {describe(node)}; allowed: {wanted}")
        elif not is_off(node):
            found.append(_pusher(name, node, report, drain_timeout))
    return tuple(one for one in found if one is not None)


def _pusher(name: str, section: Section, report: Report, drain_timeout: float) -> WebhookSettings | None:
    values = read(section, PREFIX, report, f"{PREFIX}.{name}")
    backend = values["backend"] or name
    if "backend" not in values and name not in BACKENDS:
        missing = f"missing: the backend: {', '.join(BACKENDS)}, or package.module:Class"
        report.error(values.place, f"{values.name}.backend", missing)
        return None
    if backend == "http":
        _as_a_webhook(values, report)
    elif backend == "push" and "batch.size" not in values:
        values.put("batch.size", _BATCH_OF_PUSH, values.place)
    return endpoint(
        name,
        " ".join(values["url"]),
        values,
        report,
        drain_timeout,
        section=PREFIX,
        otherwise=_EVENTS_OF_PUSH if backend == "push" else (),
        backend=backend,
        options=MappingProxyType(_own(backend, values, report)),
    )


def _as_a_webhook(values: Values, report: Report) -> None:
    """HTTP has the same settings as in webhooks: one URL, the same defaults, and headers in the same form."""
    for key in ("batch.size", "pool_size", "cancel_timeout"):
        if key not in values:
            values.put(key, default(f"webhook.{key}"), values.place)
    if len(values["url"]) != 1:
        message = (
            "missing: where the events are posted to" if not values["url"] else "one URL is allowed here"
        )
        report.error(values.place_of("url"), f"{values.name}.url", message)
    if any("{" in text for _, text in values["headers"]):
        words = "templates are not replaced with backend = http"
        report.warn(values.place_of("headers"), f"{values.name}.headers", words)


def _own(backend: str, values: Values, report: Report) -> dict[str, object]:
    """The settings of this backend only. Keys of other backends have no effect."""
    own = {row.key for row in OF_BACKEND.get(backend, ())}
    own |= {key for key, backends in OF_SEVERAL.items() if backend in backends}
    every = {row.key for rows in OF_BACKEND.values() for row in rows} | OF_SEVERAL.keys()
    for key in sorted(every - own):
        if key in values:
            report.warn(
                values.place_of(key), f"{values.name}.{key}", f"has no effect with backend = {backend}"
            )
    if ":" not in backend:
        if "options" in values:
            report.warn(
                values.place_of("options"),
                f"{values.name}.options",
                "has no effect: they are for a backend of the form package.module:Class",
            )
        return {key: values[key] for key in own}
    return {"options": values["options"]}
