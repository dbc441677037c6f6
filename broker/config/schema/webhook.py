"""The rows of `webhook`. Each ``webhook.NAME`` has the same keys."""

from __future__ import annotations

from collections.abc import Iterator

from ..units import (
    choice,
    flag,
    function,
    header_value,
    path,
    signing_secret,
    size,
    text,
    time,
    topic_filter,
    url,
    whole,
)
from .row import ANYTHING, Row, tls_client, under

EVENTS_WITH_TOPIC = (
    "on_client_subscribe",
    "on_client_unsubscribe",
    "on_session_subscribed",
    "on_session_unsubscribed",
    "on_message_publish",
    "on_message_queued",
    "on_message_delivered",
    "on_message_acked",
    "on_message_dropped",
)
EVENTS = (
    "on_client_connect",
    "on_client_connack",
    "on_client_connected",
    "on_client_disconnected",
    *EVENTS_WITH_TOPIC,
    "on_session_terminated",
)


def rows() -> Iterator[Row]:
    yield from _of_nanomq()
    yield from under("webhook", *_ours(), ours=True, reload=True)
    yield from tls_client("webhook.tls", reload=True)


def _of_nanomq() -> Iterator[Row]:
    off = "False turns off every endpoint, including the named ones. Off without this section."
    timeout = "How long a request may take. A bare number is milliseconds."
    yield from under(
        "webhook",
        Row("enable", flag(), "true", off),
        Row("url", url(), "", "The URL that events are posted to.", environ=True),
        Row("headers", header_value(), "", "Headers of each request.", "map", environ=True),
        Row("body.encoding", choice("plain", "base64", "base62"), "plain", "The encoding of payloads."),
        Row("pool_size", whole(1, 10_000), "32", "Parallel requests."),
        Row("cancel_timeout", time(0.001, bare="ms"), "5000", timeout, differs="Units work too."),
        Row("events", ANYTHING, "", "The events to send.", "objects"),
        Row("events[].event", choice(*EVENTS), "", "The event.", differs="NanoMQ sends three of them."),
        Row("events[].topic", topic_filter(), "", "Only events whose topic matches."),
        reload=True,
    )


def _ours() -> Iterator[Row]:
    yield from (
        Row(
            "events[].clientid", text(), "", "Only events whose client identifier matches: `*`, `?`, `[ab]`."
        ),
        Row("events[].username", text(), "", "Only events whose user name matches: `*`, `?`, `[ab]`."),
        Row("events[].filter", function(), "", "A Python function that decides whether the event is sent."),
        Row("events[].transform", function(), "", "A Python function that returns headers and body."),
        Row("filter", function(), "", "For the entries of `events` that name none."),
        Row("transform", function(), "", "For the entries of `events` that name none."),
        Row("body.format", choice("nanomq", "cloudevents", "form"), "nanomq", "The format of the body."),
        Row(
            "body.cloudevents_mode",
            choice("binary", "structured"),
            "binary",
            "CloudEvents attributes in headers (binary) or in the body (structured).",
        ),
        Row("queue.max_events", whole(1, 100_000_000), "100000", "Events that wait in memory."),
        Row("queue.max_bytes", size(1024), "256MB", "Bytes that wait in memory."),
        Row(
            "queue.overflow",
            choice("drop_new", "drop_oldest"),
            "drop_new",
            "Which event is dropped when the queue is full.",
        ),
        Row(
            "order",
            choice("none", "client", "topic"),
            "none",
            "Which events keep their order over retries: none, those of a client, or of a topic.",
        ),
        Row("retry.max_attempts", whole(1, 1000), "8", "Tries of one event, including the first."),
        Row("retry.first", time(), "1s", "The wait before the second try; it doubles, with jitter."),
        Row("retry.max", time(), "60s", "The longest wait."),
        Row("retry.ttl", time(0.001), "1h", "An event older than this is not tried again."),
        Row(
            "breaker.failures",
            whole(1, 1_000_000),
            "5",
            "Failures in a row after which only one try is made at a time.",
        ),
        Row("spool.enable", flag(), "true", "False: ignore the section."),
        Row("spool.path", path(), "", "The directory of the spool; without `spool` events wait in memory."),
        Row("spool.max_size", size(64 << 10), "1GB", "The size of the spool, with its dead letters."),
        Row("spool.max_age", time(1), "7d", "How long an event may stay in the spool."),
        Row(
            "spool.fsync",
            choice("interval", "always"),
            "interval",
            "`always`: an event is synced to disk before it is sent.",
        ),
        Row("batch.size", whole(1, 100_000), "1", "Events in one request."),
        Row("batch.time", time(0, 3600), "0", "How long a request waits to be filled."),
        Row(
            "batch.format",
            choice("json", "ndjson"),
            "json",
            "The body of a batch: a JSON array, or one line per event.",
        ),
        Row(
            "secret",
            signing_secret(),
            "",
            "Signs requests (Standard Webhooks); a list to rotate secrets.",
            "list",
            environ=True,
        ),
        Row("compression", choice("none", "gzip"), "none", "Compression of the body."),
        Row(
            "drain_timeout",
            time(),
            "",
            "How long a stop waits for the queue; by default `system.drain_timeout`.",
        ),
    )
