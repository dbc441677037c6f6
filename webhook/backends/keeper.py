"""A backend's connection: opened when the first events come, and anew after a failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from importlib import import_module

from pybroker.broker import events

from ..backend import Address, Backend, Outcome, Outcomes, words
from ..parcels import Delivery

log = logging.getLogger("pybroker.webhook")

CLOSING = 1.0
"""Seconds that a backend may take to close."""

_MISTAKES = (TypeError, AttributeError, NameError, LookupError)
"""Exceptions that mean an error in the backend's code, not an unreachable server."""


STRANGER = Outcome.dead("it was addressed for another backend")
_LOST = Outcome.retry("the backend returned too few outcomes")


class Keeper:
    """Sends through ``backend``. If it raises, the connection is unusable: all events of the batch are tried
    again over another connection."""

    def __init__(self, backend: Backend, label: str, modules: Sequence[str] = ()) -> None:
        """``modules`` are imported in a thread before the backend is opened, because it takes long."""
        self._backend = backend
        self._label = label
        self.address: Address = getattr(backend, "address", None)
        self._mark: str = getattr(backend, "mark", "")
        self.wants: Callable[[events.Event], bool] | None = getattr(backend, "wants", None)
        self._modules = modules
        self._ready = False
        self._sending = 0
        self._none_sends = asyncio.Event()
        self._none_sends.set()
        self._opening = asyncio.Lock()
        self.opened = self.closed = self.failed = 0
        """The number of connections so far, and of failed tries to connect."""

    async def send(self, events: Sequence[Delivery]) -> Outcomes:
        """Events queued for another backend of this endpoint have no address for this one: they become dead
        letters."""
        mark = self._mark
        if mark and not all(event.headers and event.headers[0][0] == mark for event in events):
            ours = [event for event in events if event.headers and event.headers[0][0] == mark]
            outcomes = await self._send(ours) if ours else ()
            found = iter([outcomes] * len(ours) if isinstance(outcomes, Outcome) else outcomes)
            return [
                next(found, _LOST) if event.headers and event.headers[0][0] == mark else STRANGER
                for event in events
            ]
        return await self._send(events)

    async def _send(self, events: Sequence[Delivery]) -> Outcomes:
        try:
            if not self._ready:
                await self._open()
        except Exception as error:
            self.failed += 1
            return self._failed("cannot connect", error)
        self._sending += 1
        self._none_sends.clear()
        try:
            return await self._backend.send(events)
        except Exception as error:
            self._ready = False
            return self._failed("sending failed", error)
        except BaseException:  # the batch is given up: a late answer must not be taken for that of another
            self._ready = False
            raise
        finally:
            self._sending -= 1
            if not self._sending:
                self._none_sends.set()

    async def _open(self) -> None:
        async with self._opening:
            if self._ready:
                return
            await self._none_sends.wait()  # over the connection that was: each ends within its time
            await self.close()
            for module in self._modules:
                await asyncio.to_thread(import_module, module)
            self._modules = ()
            await self._backend.open()
            self._ready = True
            self.opened += 1

    async def close(self) -> None:
        self._ready = False
        self.closed = self.opened  # there is one at a time
        try:
            async with asyncio.timeout(CLOSING):
                await self._backend.close()
        except Exception as error:  # it was broken anyway
            log.debug("%s: closing: %s", self._label, words(error))

    def _failed(self, what: str, error: Exception) -> Outcome:
        if isinstance(error, _MISTAKES):
            log.error("%s: %s", self._label, what, exc_info=error)
        return Outcome.retry(f"{what}: {words(error)}")
