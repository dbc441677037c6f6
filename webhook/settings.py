"""The settings of `webhook {}`, `webhook.NAME {}` and `event_pusher.NAME {}`, checked and frozen.

The configuration makes them; the defaults are those of docs/webhooks.md. Times are seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any


class SettingsError(ValueError):
    """Invalid settings of an endpoint; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of `events`: an event to send, and conditions."""

    event: str
    """NanoMQ's name with ``on_``, such as ``on_message_publish``."""
    topic: str | None = None
    """A topic filter with ``+`` and ``#``, for events that have a topic."""
    clientid: str | None = None
    """A shell-style pattern (``*``, ``?``, ``[ab]``) for the client identifier."""
    username: str | None = None
    """A shell-style pattern for the user name."""
    filter: str | None = None
    """``package.module:function`` that decides whether the event is sent."""
    transform: str | None = None
    """``package.module:function`` that returns headers and body."""


@dataclass(frozen=True, slots=True)
class TlsClient:
    """The check of the endpoint's certificate, and the client certificate."""

    keyfile: Path | None = None
    certfile: Path | None = None
    cacertfile: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Retry:
    """The times of retries: exponential backoff with full jitter."""

    max_attempts: int = 8
    first: float = 1.0
    max: float = 60.0
    ttl: float = 3600.0
    """An event older than this is not tried again."""


@dataclass(frozen=True, slots=True)
class Spool:
    """The spool of an endpoint."""

    path: Path
    max_size: int = 1 << 30
    max_age: float = 7 * 86400.0
    fsync: str = "interval"
    """``always``: each batch is synced to disk before it is sent; ``interval``: at most once a second."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Several events in one request: at most ``size`` of them, waiting at most ``time`` seconds."""

    size: int = 1
    time: float = 0.0
    format: str = "json"
    """``json`` (an array) or ``ndjson``."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """One endpoint."""

    name: str
    """``webhook`` for the plain section, else the NAME of ``webhook.NAME`` or ``event_pusher.NAME``."""
    url: str
    """Where events are sent; of some backends several, with spaces between them."""
    section: str = "webhook"
    """``webhook`` or ``event_pusher``."""
    backend: str = "http"
    """The name of a built-in backend, or ``package.module:Class``."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """The settings that only this backend has."""
    enable: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    rules: tuple[Rule, ...] = ()
    encoding: str = "plain"
    """The encoding of payloads: ``plain``, ``base64`` or ``base62``."""
    format: str = "nanomq"
    """``nanomq``, ``cloudevents`` (see ``cloudevents_mode``) or ``form``."""
    cloudevents_mode: str = "binary"
    """``binary`` or ``structured``."""
    pool_size: int = 32
    cancel_timeout: float = 5.0
    queue_max_events: int = 100_000
    queue_max_bytes: int = 256 << 20
    overflow: str = "drop_new"
    """``drop_new`` or ``drop_oldest``."""
    order: str = "none"
    """``none``, ``client`` or ``topic``: the events that keep their order over retries."""
    retry: Retry = field(default_factory=Retry)
    breaker_failures: int = 5
    """Failures in a row after which only one try is made at a time."""
    spool: Spool | None = None
    batch: Batch = field(default_factory=Batch)
    secrets: tuple[str, ...] = ()
    """Standard Webhooks secrets, ``whsec_...``; several while one rotates, the newest first."""
    compression: str = "none"
    """``none`` or ``gzip``."""
    tls: TlsClient | None = None
    drain_timeout: float = 5.0
    """How long a stop waits for the queue to empty."""

    @property
    def label(self) -> str:
        """The endpoint's name in messages."""
        return f"{self.section} {self.name}"
