"""Filters and transforms that the tests name by ``tests.webhook.callables:...``."""

from __future__ import annotations

from pybroker.broker import events


def only_short(event: events.MessagePublished) -> bool:
    return len(event.payload) < 5


def broken(*_: object) -> bool:
    raise RuntimeError("this callable is broken")


def shaped(
    event: events.MessagePublished, headers: dict[str, str], body: bytes
) -> tuple[dict[str, str], bytes]:
    return {**headers, "X-Topic": event.topic, "Content-Type": "text/plain"}, event.payload.upper()


def topic_in_header(
    event: events.MessagePublished, headers: dict[str, str], body: bytes
) -> tuple[dict[str, str], bytes]:
    return {**headers, "x-topic": event.topic}, body


def wrong_shape(
    event: events.MessagePublished, headers: dict[str, str], body: bytes
) -> tuple[dict[str, str], str]:
    return headers, "text"
