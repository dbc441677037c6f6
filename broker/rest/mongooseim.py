"""The event pushers' numbers by the names that MongooseIM 6.5 has for them, for dashboards made for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from pybroker.webhook.metrics import EndpointStats

from .families import Family, Summary

Value = Callable[[EndpointStats], float]

_RABBIT: tuple[tuple[str, str, str, Value], ...] = (
    (
        "connections_active",
        "gauge",
        "Connections that are open.",
        lambda one: one.connections_opened - one.connections_closed,
    ),
    ("connections_opened", "counter", "Connections opened.", lambda one: one.connections_opened),
    ("connections_closed", "counter", "Connections closed.", lambda one: one.connections_closed),
    (
        "connections_failed",
        "counter",
        "Connections that could not be opened.",
        lambda one: one.connections_failed,
    ),
    ("messages_published_count", "counter", "Messages confirmed.", lambda one: one.succeeded),
    ("messages_published_failed", "counter", "Failed tries.", lambda one: one.failed - one.timeouts),
    ("messages_published_timeout", "counter", "Tries without an answer in time.", lambda one: one.timeouts),
    ("messages_published_size", "counter", "Bytes of the bodies confirmed.", lambda one: one.delivered_bytes),
)


def as_mongooseim(endpoints: Sequence[EndpointStats]) -> Iterator[Family | Summary]:
    """The metrics. Times are in microseconds, and only of successful tries."""
    rabbits = [one for one in endpoints if one.backend == "rabbit"]
    if rabbits:
        prefix = "wpool_global_rabbit_"
        for name, type_, text, value in _RABBIT:
            yield Family(prefix + name, type_, text, [(_of(one), value(one)) for one in rabbits])
        yield _times(f"{prefix}messages_published_time", rabbits)
    for name in dict.fromkeys(_name(one.backend) for one in endpoints):
        prefix = f"mod_event_pusher_{name}_sent_"
        found = [one for one in endpoints if _name(one.backend) == name]
        sent, failed = _each(found, lambda one: one.succeeded), _each(found, lambda one: one.failed)
        yield Family(f"{prefix}count", "counter", "Events delivered.", sent)
        yield Family(f"{prefix}failure_count", "counter", "Failed tries.", failed)
        yield _times(f"{prefix}response_time", found)


def _times(name: str, endpoints: Sequence[EndpointStats]) -> Summary:
    times = [(_of(one), one.delivered_seconds * 1e6, one.delivered_tries) for one in endpoints]
    return Summary(name, "Time until the answer to successful requests, in microseconds.", times)


def _each(endpoints: Iterable[EndpointStats], value: Value) -> list[tuple[dict[str, str], float]]:
    return [(_of(one), value(one)) for one in endpoints]


def _of(one: EndpointStats) -> dict[str, str]:
    return {"pool_tag": one.name}


def _name(backend: str) -> str:
    """The backend as a part of a metric's name; for a user's own backend only the class."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in backend.rpartition(":")[2]).lower()
