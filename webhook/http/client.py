"""The transport of requests to an HTTP endpoint, over https:// and http://."""

from __future__ import annotations

from urllib.parse import urlsplit

from pybroker.broker.outgoing.tls import client_context
from pybroker.broker.outgoing.urls import shown_url

from ..settings import SettingsError, WebhookSettings
from .posts import Posts
from .transport import Transport


def open_transport(settings: WebhookSettings) -> Transport:
    """Make the transport of the endpoint. Raises SettingsError or TlsError."""
    try:
        parts = urlsplit(settings.url)
        scheme, host, _ = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f'{settings.label}: url "{shown_url(settings.url)}": {error}') from None
    if scheme not in ("http", "https") or not host:
        raise SettingsError(
            f'{settings.label}: url "{shown_url(settings.url)}" does not begin with http://HOST or https://HOST'
        )
    return Posts(settings, client_context(settings.tls, settings.label) if scheme == "https" else None)
