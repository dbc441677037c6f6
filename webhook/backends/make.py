"""From an endpoint's settings to what sends its events."""

from __future__ import annotations

from ..backend import Sender
from ..clock import Clock, LoopClock
from ..http.backend import HttpBackend
from ..http.client import open_transport
from ..http.transport import MakeTransport
from ..settings import WebhookSettings


def sender_for(
    settings: WebhookSettings, clock: Clock | None = None, make_transport: MakeTransport = open_transport
) -> Sender:
    """Raises SettingsError or TlsError where the settings cannot work. Nothing is connected yet."""
    return HttpBackend(settings, clock or LoopClock(), make_transport)
