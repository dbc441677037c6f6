"""Webhooks: the broker's events, posted over HTTP. No event is lost in silence."""

from pybroker.broker.outgoing.http import Answer

from .backend import Backend, Outcome
from .metrics import EndpointStats
from .settings import Batch, Retry, Rule, SettingsError, Spool, TlsClient, WebhookSettings
from .sink import Left, Sink

__all__ = [
    "Answer",
    "Backend",
    "Batch",
    "EndpointStats",
    "Left",
    "Outcome",
    "Retry",
    "Rule",
    "SettingsError",
    "Sink",
    "Spool",
    "TlsClient",
    "WebhookSettings",
]
