"""Makes the sender of an endpoint's events from its settings."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from ..backend import Backend, Sender
from ..clock import Clock, LoopClock
from ..http.backend import HttpBackend
from ..http.client import open_transport
from ..http.transport import MakeTransport
from ..settings import SettingsError, WebhookSettings
from .custom import custom
from .keeper import Keeper
from .push import Audience, PushBackend
from .topic import Publish, TopicBackend

OURS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "rabbit": ("rabbit:RabbitBackend", "aiormq", ("aiormq",)),
    "nats": ("nats:NatsBackend", "nats", ("nats", "nats.errors")),
    "redis": ("redis:RedisBackend", "redis", ("redis.asyncio", "redis.backoff")),
    "kafka": ("kafka:KafkaBackend", "confluent_kafka", ("confluent_kafka",)),
    "sns": ("sns:SnsBackend", "botocore", ("botocore.session", "botocore.config")),
}
"""Each backend's module and class, the library that it needs (the extra has the backend's name), and the
modules to import before the first connection."""


def sender_for(
    settings: WebhookSettings,
    clock: Clock | None = None,
    make_transport: MakeTransport = open_transport,
    publish: Publish | None = None,
    audience: Audience | None = None,
) -> Sender:
    """Raises SettingsError or TlsError for invalid settings. Does not connect yet. ``publish`` gives a
    message to the broker, for its own topics; ``audience`` knows the clients registered for push."""
    name = settings.backend
    clock = clock or LoopClock()
    if name == "http":
        return HttpBackend(settings, clock, make_transport)
    if name == "mqtt-topic":
        return TopicBackend(settings, publish)
    if name == "push":
        return Keeper(PushBackend(settings, clock, make_transport, audience), settings.label)
    if ":" in name:
        return Keeper(custom(settings), settings.label)
    if name not in OURS:
        known = ", ".join(("http", "mqtt-topic", "push", *OURS))
        raise SettingsError(
            f'{settings.label}: backend = "{name}" is none of {known}, and not package.module:Class'
        )
    path, library, modules = OURS[name]
    if find_spec(library) is None:
        raise SettingsError(
            f"{settings.label}: backend = {name} needs the package {library.replace('_', '-')}; "
            f'install it with: pip install "pybroker[{name}]"'
        )
    module, _, cls = path.partition(":")
    make: Callable[[WebhookSettings], Backend] = getattr(import_module(f"{__package__}.{module}"), cls)
    return Keeper(make(settings), settings.label, modules)
