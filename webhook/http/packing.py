"""Makes requests from deliveries: joins batches, compresses bodies, signs requests."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from hashlib import sha256

from ..body.signature import SecretError, Signer
from ..parcels import Delivery, Headers
from ..settings import SettingsError, WebhookSettings
from .transport import Request


class Packer:
    """Makes the requests of one endpoint."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._base = {"content-type": "application/json"}
        self._base.update((name.lower(), value) for name, value in settings.headers)
        self._batched = settings.batch.size > 1
        self._gzip = settings.compression == "gzip"
        if self._gzip:
            self._base["content-encoding"] = "gzip"
        try:
            self._signer = Signer(settings.secrets) if settings.secrets else None
        except SecretError as error:
            raise SettingsError(f"{settings.label}: {error}") from error
        self._open, self._comma, self._close = (
            (b"", b"\n", b"\n") if settings.batch.format == "ndjson" else (b"[", b",", b"]")
        )
        self._batch_headers: Headers = ()
        if settings.format == "cloudevents":
            self._open, self._comma, self._close = b"[", b",", b"]"
            self._batch_headers = (("content-type", "application/cloudevents-batch+json"),)
        elif settings.batch.format == "ndjson":
            self._batch_headers = (("content-type", "application/x-ndjson"),)

    def request(self, items: Sequence[Delivery], now: float) -> Request:
        """The request of one try with ``items``, one or up to a batch; ``now`` is seconds since the epoch."""
        if self._batched:
            id, own = batch_id(items), self._batch_headers
            body = self._open + self._comma.join([item.body for item in items]) + self._close
        else:
            id, own, body = items[0].id, items[0].headers, items[0].body
        stamp = int(now)
        headers = self._headers(id, own, stamp)
        if self._signer:
            # Signed without Content-Encoding: servers take that off before they hand the body on.
            headers["webhook-signature"] = self._signer.sign(id, stamp, body)
        if self._gzip:
            body = gzip.compress(body, compresslevel=4, mtime=0)
        return Request(headers, body)

    def headers_of(self, id: str, own: Headers, stamp: int) -> Headers:
        """The headers of a request whose first event is ``id``; the signature is empty."""
        headers = self._headers(id, self._batch_headers if self._batched else own, stamp)
        if self._signer:
            headers["webhook-signature"] = ""
        return tuple(headers.items())

    def _headers(self, id: str, own: Headers, stamp: int) -> dict[str, str]:
        headers = {**self._base, "webhook-id": id, "webhook-timestamp": str(stamp)}
        if own:
            # Where the spool was another backend's, addresses stand first.
            headers.update(own if own[0][0][0] != ":" else [pair for pair in own if pair[0][0] != ":"])
        return headers


def batch_id(items: Sequence[Delivery]) -> str:
    """The identifier of a batch: the same for the same events, so that a batch which is formed again after a
    restart is recognised."""
    digest = sha256(b" ".join([item.id.encode() for item in items])).hexdigest()
    return "batch_" + digest[:32]
