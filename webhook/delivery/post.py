"""One event posted at once, outside the queues: for `webhook test` and `webhook dead retry`."""

from __future__ import annotations

import asyncio
import time

from ..backend import Answer, MakeTransport, NoAnswerError
from ..http.packing import Packer
from ..parcels import Delivery
from ..settings import WebhookSettings
from .retry import Verdict, verdict


class Poster:
    """Posts single events to one endpoint, as its settings say."""

    def __init__(self, settings: WebhookSettings, make_transport: MakeTransport) -> None:
        self._timeout = settings.cancel_timeout
        self._packer = Packer(settings)
        self._transport = make_transport(settings)

    async def post(self, delivery: Delivery) -> tuple[bool, str, Answer | None]:
        """Whether the endpoint took it, what it said in a few words, and its answer."""
        request = self._packer.request(self._packer.pack([delivery]), time.time())
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._transport.post(request)
        except NoAnswerError as error:
            return False, str(error), None
        except TimeoutError:
            return False, f"no answer within {self._timeout:g} s", None
        took = (time.monotonic() - started) * 1000
        return (
            verdict(answer.status) is Verdict.DELIVERED,
            f"answered {answer.status} in {took:.0f} ms",
            answer,
        )

    async def close(self) -> None:
        await self._transport.close()
