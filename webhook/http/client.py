"""How requests reach an HTTP endpoint, over https:// and http://."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from ..settings import SettingsError, TlsClient, WebhookSettings
from .keepalive import KeepAliveTransport
from .transport import Transport


def open_transport(settings: WebhookSettings) -> Transport:
    """What posts to the endpoint. Raises SettingsError or TlsError."""
    try:
        parts = urlsplit(settings.url)
        scheme, host, _ = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f'{settings.label}: url "{settings.url}": {error}') from error
    if scheme not in ("http", "https") or not host:
        raise SettingsError(
            f'{settings.label}: url "{settings.url}" does not begin with http://HOST or https://HOST'
        )
    return KeepAliveTransport(
        settings, tls_context(settings.tls, settings.label) if scheme == "https" else None
    )


class TlsError(Exception):
    """A certificate or key cannot be used; the message names the file."""


def tls_context(tls: TlsClient | None, label: str) -> ssl.SSLContext:
    """How the certificate of the endpoint called ``label`` is checked and what is shown to it. Raises
    TlsError."""
    tls = tls or TlsClient()
    label += ": "
    try:
        context = ssl.create_default_context(cafile=tls.cacertfile)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"{label}cacertfile {tls.cacertfile}: {_ssl_reason(error)}") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certfile is not None:
        try:
            # The empty password keeps OpenSSL from asking on the terminal.
            context.load_cert_chain(tls.certfile, tls.keyfile, tls.key_password or "")
        except (OSError, ssl.SSLError) as error:
            raise TlsError(
                f"{label}certfile {tls.certfile}, keyfile {tls.keyfile}: {_ssl_reason(error)}"
            ) from error
    elif tls.keyfile is not None:
        raise TlsError(f"{label}keyfile {tls.keyfile} needs a certfile beside it")
    return context


def _ssl_reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
