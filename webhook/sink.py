"""The entry of events from the broker, which passes them to the endpoints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pybroker.broker import events

from .backend import Sender
from .backends.make import sender_for
from .backends.push import Audience
from .backends.topic import Publish
from .clock import Clock, LoopClock
from .delivery.endpoint import Endpoint
from .http.client import open_transport
from .http.transport import MakeTransport
from .metrics import EndpointStats
from .rules import CompiledRule, Rules
from .settings import SettingsError, WebhookSettings
from .spool.files import database_path, forgotten

log = logging.getLogger("pybroker.webhook")

NEXT_START = "after the next start"


@dataclass(frozen=True, slots=True)
class Left:
    """The events that one endpoint had not delivered when it stopped."""

    name: str
    label: str
    """The endpoint's name in messages."""
    events: int
    spooled: bool
    """Whether they are in the spool; otherwise they are lost."""
    when: str = NEXT_START
    """When those in the spool will be sent."""

    def __str__(self) -> str:
        fate = f"in the spool, to be sent {self.when}" if self.spooled else "lost"
        return f"{self.label}: {self.events} events not delivered, {fate}"


class Sink:
    """Hands each event to the endpoints whose rules want it.

    Raises SettingsError or TlsError where an endpoint's settings cannot work; disabled endpoints
    are left out. ``transport`` makes what posts to an endpoint; the default is `open_transport`.
    ``publish`` gives a message to the broker, for endpoints that are topics of its own; ``audience`` knows
    who is registered for push.
    """

    def __init__(
        self,
        settings: Iterable[WebhookSettings],
        *,
        clock: Clock | None = None,
        transport: MakeTransport = open_transport,
        publish: Publish | None = None,
        audience: Audience | None = None,
    ) -> None:
        self._clock = clock or LoopClock()
        self._make_transport = transport
        self._publish = publish
        self._audience = audience
        self._endpoints = [self._make(one) for one in settings if one.enable]
        """In the order of the configuration."""
        self._rules = _compile(self._endpoints)
        self._started = False
        self._changing = asyncio.Lock()

    def _make(self, settings: WebhookSettings) -> Endpoint:
        return Endpoint(settings, self._clock, self.make_sender)

    def make_sender(self, settings: WebhookSettings) -> Sender:
        """Make another sender for the same endpoint, such as for its dead letters."""
        return sender_for(settings, self._clock, self._make_transport, self._publish, self._audience)

    # ---- events

    def wants(self, event_type: type[events.Event]) -> bool:
        """Whether any endpoint has a rule for ``event_type``."""
        return self._rules.wants(event_type)

    def wants_topic(self, topic: str) -> bool:
        """Whether any endpoint wants messages published to ``topic``."""
        return bool(self._rules.find(events.MessagePublished, topic))

    def offer(self, event: events.Event) -> None:
        """Queue ``event`` for every endpoint that wants it. Returns at once and raises nothing."""
        try:
            for endpoint, rules in self._rules.find(type(event), getattr(event, "topic", None)):
                endpoint.accept(event, rules)
        except Exception:
            log.exception("webhook: %s could not be queued; it is lost", type(event).__name__)

    # ---- life

    async def start(self) -> None:
        """Begin to send. Raises SpoolError if a spool cannot be opened; then nothing has been started."""
        await _open(self._endpoints)
        for endpoint in self._endpoints:
            endpoint.start()
        self._started = True
        await self._warn_of_forgotten()

    async def _warn_of_forgotten(self) -> None:
        """Warn about events in a spool whose endpoint was renamed or removed."""
        spools = [
            database_path(one.settings.spool.path, one.name) for one in self._endpoints if one.settings.spool
        ]
        for path in await asyncio.to_thread(forgotten, spools):
            log.warning(
                "webhook %s: events wait in the spool %s, but no such endpoint is configured: they are sent "
                "when it is configured again",
                path.stem,
                path.parent,
            )

    async def stop(self, grace: float | None = None) -> list[Left]:
        """Give the queues ``grace`` seconds to empty (None: each endpoint's ``drain_timeout``), stop, and
        return the undelivered events. Waits for a ``replace`` that is under way."""
        async with self._changing:
            self._started = False
            await asyncio.gather(*(_stop(endpoint, grace, self._clock) for endpoint in self._endpoints))
            # Not before: while one endpoint is waited for, events come for the others.
            return [left for endpoint in self._endpoints for left in await _close(endpoint)]

    async def drained(self) -> None:
        """Return once nothing is queued or in flight in any endpoint."""
        while not self.idle():
            await asyncio.gather(*(endpoint.drained() for endpoint in self._endpoints))

    def idle(self) -> bool:
        """Whether nothing is queued or in flight in any endpoint."""
        return all(endpoint.idle for endpoint in self._endpoints)

    async def replace(self, settings: Sequence[WebhookSettings]) -> list[Left]:
        """Continue with other settings. An unchanged endpoint is kept (and enabled again after a 410), unless
        it has certificates, which may have been renewed. A changed one keeps its waiting events, a removed
        one gets its ``drain_timeout``; returns the undelivered events of the removed ones. Raises as the
        constructor does, and then nothing has changed."""
        async with self._changing:
            return await self._replace(settings)

    async def _replace(self, settings: Sequence[WebhookSettings]) -> list[Left]:
        before = {endpoint.name: endpoint for endpoint in self._endpoints}
        after = [self._kept_or_made(one, before.get(one.name)) for one in settings if one.enable]
        rules = _compile(after)
        fresh = [endpoint for endpoint in after if endpoint not in self._endpoints]
        heirs = [
            (e, before[e.name]) for e in fresh if e.name in before and e.shares_backlog_with(before[e.name])
        ]
        others = [endpoint for endpoint in fresh if endpoint not in dict(heirs)]
        if self._started:
            await _open(others)

        for heir, old in heirs:
            heir.inherit(old)
        gone = [old for old in self._endpoints if old not in after and old not in dict(heirs).values()]
        self._endpoints, self._rules = after, rules
        if not self._started:
            return []
        for endpoint in others:
            endpoint.start()
        for endpoint in after:
            endpoint.enable()
        await asyncio.gather(*(heir.take_over(old) for heir, old in heirs))
        await asyncio.gather(*(_stop(old, None, self._clock) for old in gone))
        when = "when an endpoint of this name has that spool again"
        return [left for old in gone if not self._adopted(old) for left in await _close(old, when)]

    def _kept_or_made(self, settings: WebhookSettings, before: Endpoint | None) -> Endpoint:
        if before is not None and before.settings == settings and settings.tls is None:
            return before
        return self._make(settings)

    def _adopted(self, old: Endpoint) -> bool:
        """Whether an endpoint of the same name takes over the events that ``old`` left in memory."""
        heir = next((endpoint for endpoint in self._endpoints if endpoint.name == old.name), None)
        if heir is None or old.settings.spool is not None:
            return False
        heir.adopt(old.leave())
        return True

    # ---- seen

    def endpoint(self, name: str) -> Endpoint | None:
        """The endpoint of this name."""
        return next((endpoint for endpoint in self._endpoints if endpoint.name == name), None)

    def stats(self) -> list[EndpointStats]:
        """This instant's counters of each endpoint."""
        return [endpoint.stats() for endpoint in self._endpoints]


def _compile(endpoints: Sequence[Endpoint]) -> Rules[Endpoint]:
    names = [endpoint.name for endpoint in endpoints]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SettingsError(f'there are two endpoints named "{twice.pop()}"')
    return Rules(
        (endpoint, CompiledRule(f"{endpoint.settings.label}, events[{index}] ({rule.event})", rule))
        for endpoint in endpoints
        for index, rule in enumerate(endpoint.settings.rules)
    )


async def _open(endpoints: Sequence[Endpoint]) -> None:
    """Open all endpoints, or none."""
    opened = []
    try:
        for endpoint in endpoints:
            await endpoint.open()
            opened.append(endpoint)
    except BaseException:
        for endpoint in opened:
            await endpoint.stop(0)
            await endpoint.close()
        raise


async def _stop(endpoint: Endpoint, grace: float | None, clock: Clock) -> None:
    """Drain as long as allowed, then stop. Events in a spool are safe and are not waited for."""
    deadline = clock.monotonic() + (endpoint.settings.drain_timeout if grace is None else grace)
    if endpoint.settings.spool is None:
        endpoint.flush()
        await _until(endpoint, deadline, clock)
    await endpoint.stop(deadline - clock.monotonic())


async def _close(endpoint: Endpoint, when: str = NEXT_START) -> list[Left]:
    """Save the waiting events; returns the undelivered ones, if any."""
    lost, label = await endpoint.close(), endpoint.settings.label
    left = (
        Left(endpoint.name, label, endpoint.waiting - lost, True, when),
        Left(endpoint.name, label, lost, False),
    )
    return [one for one in left if one.events]


async def _until(endpoint: Endpoint, deadline: float, clock: Clock) -> None:
    """Wait until ``endpoint`` is drained, but not beyond ``deadline``."""
    if clock.monotonic() >= deadline:
        return
    waiting = asyncio.ensure_future(endpoint.drained())
    timer = clock.call_at(deadline, lambda: _cancel(waiting))
    try:
        await asyncio.wait([waiting])
    finally:
        timer.cancel()
        waiting.cancel()


def _cancel(task: asyncio.Future[None]) -> None:
    task.cancel()
