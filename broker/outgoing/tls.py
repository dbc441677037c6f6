"""TLS to a server: the check of its certificate, and the client certificate."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """The files and options of TLS, as in the settings of webhooks, event pushers and `auth.http_auth`."""

    @property
    def keyfile(self) -> Path | None: ...
    @property
    def certfile(self) -> Path | None: ...
    @property
    def cacertfile(self) -> Path | None:
        """None: the system's authorities."""

    @property
    def key_password(self) -> str | None: ...
    @property
    def verify(self) -> bool: ...


class TlsError(Exception):
    """A certificate or key cannot be used; the message names the file."""


def client_context(files: Files | None, label: str) -> ssl.SSLContext:
    """Make the TLS context. ``label`` is the beginning of error messages. Raises TlsError."""
    cacertfile = None if files is None else files.cacertfile
    try:
        context = ssl.create_default_context(cafile=cacertfile)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"{label}: cacertfile {cacertfile}: {_reason(error)}") from error
    if files is None:
        return context
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if files.certfile is not None:
        try:
            # The empty password keeps OpenSSL from asking on the terminal.
            context.load_cert_chain(files.certfile, files.keyfile, files.key_password or "")
        except (OSError, ssl.SSLError) as error:
            key = f", keyfile {files.keyfile}" if files.keyfile else ""
            raise TlsError(f"{label}: certfile {files.certfile}{key}: {_reason(error)}") from error
    elif files.keyfile is not None:
        raise TlsError(f"{label}: keyfile {files.keyfile} needs a certfile beside it")
    return context


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
