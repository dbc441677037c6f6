"""From deliveries to the parcel that is posted: batches are joined, bodies compressed, requests signed."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from hashlib import sha256

from ..backend import Request
from ..body.signature import SecretError, Signer
from ..parcels import Delivery, Headers, Parcel
from ..settings import SettingsError, WebhookSettings


class Packer:
    """Makes the parcels and requests of one endpoint."""

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
            raise SettingsError(f"webhook {settings.name}: {error}") from error
        self._open, self._comma, self._close = (
            (b"", b"\n", b"\n") if settings.batch.format == "ndjson" else (b"[", b",", b"]")
        )
        self._batch_headers: Headers = ()
        if settings.format == "cloudevents":
            self._open, self._comma, self._close = b"[", b",", b"]"
            self._batch_headers = (("content-type", "application/cloudevents-batch+json"),)
        elif settings.batch.format == "ndjson":
            self._batch_headers = (("content-type", "application/x-ndjson"),)

    def pack(self, items: Sequence[Delivery]) -> Parcel:
        """The parcel for ``items``: one, or up to a batch."""
        if not self._batched:
            item = items[0]
            return Parcel(items, item.id, item.headers, item.body)
        body = self._open + self._comma.join([item.body for item in items]) + self._close
        return Parcel(items, batch_id(items), self._batch_headers, body)

    def request(self, parcel: Parcel, now: float) -> Request:
        """The request of one try; ``now`` is seconds since the epoch."""
        stamp = int(now)
        headers = {**self._base, "webhook-id": parcel.id, "webhook-timestamp": str(stamp)}
        if parcel.headers:
            headers.update(parcel.headers)
        body = parcel.body
        if self._signer:
            # Signed without Content-Encoding: servers take that off before they hand the body on.
            headers["webhook-signature"] = self._signer.sign(parcel.id, stamp, body)
        if self._gzip:
            body = gzip.compress(body, compresslevel=4, mtime=0)
        return Request(headers, body)


def batch_id(items: Sequence[Delivery]) -> str:
    """The same for the same events, so that a batch which is formed anew after a restart is recognised."""
    digest = sha256(b" ".join([item.id.encode() for item in items])).hexdigest()
    return "batch_" + digest[:32]
