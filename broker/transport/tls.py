"""The TLS side of ssl and wss listeners."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.settings import TlsServer
from .errors import ListenError

log = logging.getLogger("pybroker.clients")


class ServerContext(ssl.SSLContext):
    """Logs why a handshake failed: asyncio reports it neither to the log nor to the client."""

    listener: str

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **options: Any
    ) -> ssl.SSLObject:
        made = super().wrap_bio(incoming, outgoing, *args, **options)
        assert isinstance(made, ServerObject)
        made.outgoing = outgoing
        return made


class ServerObject(ssl.SSLObject):
    """The server's side of one connection."""

    outgoing: ssl.MemoryBIO
    _failure: ssl.SSLError | None = None

    @property
    def failed(self) -> bool:
        """Whether the handshake has failed; the alert that says why is in ``outgoing``, or was sent."""
        return self._failure is not None

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            assert isinstance(self.context, ServerContext)
            log.info("listener %s: TLS handshake failed: %s", self.context.listener, _words(error))
            if not self.outgoing.pending:
                raise
            # The alert that tells the client what is wrong would be thrown away. As if more were to come,
            # it is sent; the failure is reported when the client answers, or with the handshake's time-out.
            self._failure = error
            raise ssl.SSLWantReadError from None


ServerContext.sslobject_class = ServerObject


def server_context(listener: str, tls: TlsServer) -> ServerContext:
    """TLS 1.2 and 1.3 with the certificate of ``tls``. Raises ListenError naming the file and the cause."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.listener = listener
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_own(context, tls)
    if tls.verify_peer:
        _load_authorities(context, tls.cacertfile)
        context.verify_mode = ssl.CERT_REQUIRED if tls.fail_if_no_peer_cert else ssl.CERT_OPTIONAL
    return context


def common_name(certificate: Mapping[str, Any] | None) -> str:
    """The common name of a certificate in the form of `ssl.SSLSocket.getpeercert`; empty if there is none."""
    for parts in (certificate or {}).get("subject", ()):
        for key, value in parts:
            if key == "commonName":
                return str(value)
    return ""


def _load_own(context: ssl.SSLContext, tls: TlsServer) -> None:
    for path, what in ((tls.certfile, "certificate"), (tls.keyfile, "private key")):
        _read(path, what)
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(tls.certfile, tls.keyfile, password=tls.key_password or "")
    except (ssl.SSLError, ValueError) as error:
        raise ListenError(_why_unfit(tls, error)) from None


def _load_authorities(context: ssl.SSLContext, path: Path | None) -> None:
    if path is None:
        raise ListenError("verify_peer needs cacertfile, which client certificates are checked against")
    _read(path, "CA certificate")
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise ListenError(f"CA certificate {path}: holds no certificate in PEM format") from None


def _read(path: Path, what: str) -> bytes:
    """OpenSSL names no file when it cannot read one."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ListenError(f"{what} {path}: {error.strerror or error}") from None


def _why_unfit(tls: TlsServer, error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"private key {tls.keyfile}: does not belong to the certificate {tls.certfile}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(tls.certfile)
    except ssl.SSLError:
        return f"certificate {tls.certfile}: holds no certificate in PEM format"
    if b"ENCRYPTED" in _read(tls.keyfile, "private key"):
        wrong = "is not right" if tls.key_password else "is missing"
        return f"private key {tls.keyfile}: is encrypted and key_password {wrong}"
    if b"PRIVATE KEY" not in _read(tls.keyfile, "private key"):
        return f"private key {tls.keyfile}: holds no private key in PEM format"
    reason = _words(error) if isinstance(error, ssl.SSLError) else str(error)
    return f"certificate {tls.certfile} with private key {tls.keyfile}: {reason}"


def _words(error: ssl.SSLError) -> str:
    """``certificate verify failed: certificate has expired`` rather than OpenSSL's line numbers."""
    words = (error.reason or str(error)).lower().replace("_", " ")
    detail = getattr(error, "verify_message", "")
    return f"{words}: {detail}" if detail else words
