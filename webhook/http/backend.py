"""HTTP as a backend: one request for each batch, and the outcome of its answer."""

from __future__ import annotations

from collections.abc import Sequence

from pybroker.broker.outgoing.http import NoAnswerError

from ..backend import Outcome, Verdict
from ..clock import Clock
from ..parcels import Delivery, Headers
from ..settings import WebhookSettings
from .answers import outcome_of
from .packing import Packer
from .transport import MakeTransport


class HttpBackend:
    """Posts to one endpoint. Raises SettingsError or TlsError for invalid settings."""

    address = None

    def __init__(self, settings: WebhookSettings, clock: Clock, make_transport: MakeTransport) -> None:
        self._packer = Packer(settings)
        self._transport = make_transport(settings)
        self._clock = clock

    async def send(self, events: Sequence[Delivery]) -> Outcome:
        """One outcome for all events: a batch is one request."""
        request = self._packer.request(events, self._clock.time())
        try:
            answer = await self._transport.post(request)
        except NoAnswerError as error:
            return Outcome.retry(str(error))
        if answer.status == 200:
            body = answer.body
            return Outcome(Verdict.DELIVERED, "answered 200", 0.0, 200, body) if body else ANSWERED_200
        return outcome_of(answer, self._clock.time())

    def headers_of(self, id: str, own: Headers, at: float) -> Headers:
        """The headers of a request for the event ``id`` with the headers ``own``; the signature is empty."""
        return self._packer.headers_of(id, own, int(at))

    async def close(self) -> None:
        await self._transport.close()


ANSWERED_200 = Outcome.delivered("answered 200", 200)
