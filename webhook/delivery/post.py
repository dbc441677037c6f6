"""Sends one event at once, outside the queues: for `webhook test` and `webhook dead retry`."""

from __future__ import annotations

import asyncio
import time

from ..backend import MakeSender, Outcome, words
from ..parcels import Delivery
from ..settings import WebhookSettings


class Poster:
    """Sends single events to one endpoint, with its settings."""

    def __init__(self, settings: WebhookSettings, make_sender: MakeSender) -> None:
        self._timeout = settings.cancel_timeout
        self._sender = make_sender(settings)
        self.address = self._sender.address

    async def post(self, delivery: Delivery) -> tuple[Outcome, str]:
        """Send the event; returns the outcome, and a description in a few words."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                outcomes = await self._sender.send([delivery])
        except TimeoutError:
            why = f"no answer within {self._timeout:g} s"
            return Outcome.retry(why), why
        except Exception as error:  # the backend is not ours
            return Outcome.retry(words(error)), words(error)
        outcome = outcomes if isinstance(outcomes, Outcome) else outcomes[0]
        took = (time.monotonic() - started) * 1000
        return outcome, f"{outcome.why} in {took:.0f} ms" if outcome.answered else outcome.why

    async def close(self) -> None:
        await self._sender.close()
