"""Notifications on the devices of clients that are away: by MongoosePush, or by FCM and APNs themselves."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from pybroker.broker import events
from pybroker.broker.outgoing.http import NoAnswerError

from ..backend import Outcome, Verdict, words
from ..body.headers import address_of
from ..clock import Clock
from ..http.transport import MakeTransport
from ..parcels import Delivery, Headers
from ..push.collapse import Collapse
from ..push.mongoosepush import MongoosePush
from ..push.notification import Texts, compose
from ..push.provider import Provider
from ..push.registration import SERVICES, Registration
from ..settings import SettingsError, WebhookSettings

log = logging.getLogger("pybroker.webhook")

AT_A_TIME = 32
"""Requests under way."""
MOST_DONE = 10_000
"""The most events for which it is remembered which of their client's devices have them, while others are
tried again."""

NOT_SERVED = Outcome.dead("neither MongoosePush nor this service is configured")


class Audience(Protocol):
    """The clients that can be notified, as known by the broker."""

    def devices(self, client: str) -> Sequence[Registration]:
        """The devices that the client has registered."""

    def away(self, client: str) -> bool:
        """Whether the client is not connected."""

    def waiting(self, client: str) -> int:
        """The number of messages that wait for the client."""

    async def forget(self, device: Registration) -> None:
        """Remove a device; the service has said that it does not exist any more."""


class PushBackend:
    """An event counts as delivered when a service has taken it for one of the client's devices."""

    mark = ":client"
    """The first of the addresses that an event must have."""

    def __init__(
        self,
        settings: WebhookSettings,
        clock: Clock,
        make_transport: MakeTransport,
        audience: Audience | None,
    ) -> None:
        """``audience`` is None outside a broker."""
        _check(settings)
        self._settings = settings
        self._clock = clock
        self._audience = audience
        self._texts = Texts(settings, (lambda _: 0) if audience is None else audience.waiting)
        self._collapse = Collapse(settings.options["throttle"])
        self._providers = _providers(settings, clock, make_transport)
        self._room = asyncio.Semaphore(AT_A_TIME)
        self._done: OrderedDict[str, dict[tuple[str, str], bool]] = OrderedDict()
        """For each event the devices that need not be tried again, and whether they have it."""

    def wants(self, event: events.Event) -> bool:
        """Whether the event has a client that can be notified."""
        client: events.Client | None = getattr(event, "client", None)
        return (
            client is not None
            and self._audience is not None
            and bool(self._audience.devices(client.client_id))
        )

    def address(self, event: events.Event) -> Headers:
        assert isinstance(event, events.MessageEvent)
        return self._texts.address(event)

    async def open(self) -> None:
        """Does nothing: connections are made when they are needed."""

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        audience = self._audience
        if audience is None:
            return [Outcome.retry("only a running broker knows who is registered")] * len(events)
        groups: dict[tuple[str, str], list[Delivery]] = {}
        for event in events:
            groups.setdefault((address_of(event, "client"), address_of(event, "key")), []).append(event)
        found: dict[str, Outcome] = {}
        async with asyncio.TaskGroup() as tasks:
            for key, group in groups.items():
                tasks.create_task(self._send_group(audience, key, group, found))
        return [found[event.id] for event in events]

    async def _send_group(
        self, audience: Audience, key: tuple[str, str], group: list[Delivery], found: dict[str, Outcome]
    ) -> None:
        """Send the events of one client and collapse key."""
        decisions = self._collapse.decide(key, group, self._clock.monotonic())
        try:
            for event, decision in zip(group, decisions, strict=True):
                if decision is None:
                    found[event.id] = Outcome.unwanted("a newer one of its key is pushed")
                elif isinstance(decision, float):
                    found[event.id] = Outcome.later(decision)
                else:
                    found[event.id] = await self._push(audience, key, event, decision)
        except BaseException:
            if any(isinstance(decision, Delivery) for decision in decisions):
                self._collapse.failed(key, self._clock.monotonic())
            for event in group:
                self._collapse.cut_off(key, event)
            raise

    async def _push(
        self, audience: Audience, key: tuple[str, str], event: Delivery, content: Delivery
    ) -> Outcome:
        """Send to all devices of the client that do not have the notification yet."""
        client = key[0]
        if not audience.away(client):
            self._collapse.pushed(key, content)
            return Outcome.unwanted("the client is connected")
        done = self._done.get(event.id, {})
        devices = [one for one in audience.devices(client) if one.key not in done]
        outcomes = await asyncio.gather(*(self._push_one(audience, event, content, one) for one in devices))
        outcome = _of_all(outcomes, any(done.values()))
        if outcome.verdict is Verdict.RETRY:
            self._collapse.failed(key, self._clock.monotonic())
        else:
            self._done.pop(event.id, None)
            self._collapse.pushed(key, content)
        return outcome

    async def _push_one(
        self, audience: Audience, event: Delivery, content: Delivery, device: Registration
    ) -> Outcome:
        provider = self._providers.get(device.service)
        if provider is None:
            return NOT_SERVED
        note = compose(content, device, self._settings.options)
        try:
            async with self._room, asyncio.timeout(self._settings.cancel_timeout / 2):
                outcome = await provider.push(device, note)
        except NoAnswerError as error:
            return Outcome.retry(str(error))
        except TimeoutError:
            return Outcome.retry(f"no answer within {self._settings.cancel_timeout / 2:g} s")
        except Exception as error:
            log.exception("%s: a notification failed", self._settings.label)
            return Outcome.retry(words(error))
        if outcome.verdict is not Verdict.RETRY:
            self._note_done(event.id, device, outcome.verdict is Verdict.DELIVERED)
        if outcome.verdict is Verdict.DISABLE:
            await audience.forget(device)
        return outcome

    def _note_done(self, event: str, device: Registration, delivered: bool) -> None:
        self._done.setdefault(event, {})[device.key] = delivered
        if len(self._done) > MOST_DONE:
            self._done.popitem(last=False)

    async def close(self) -> None:
        self._collapse.forget()
        for provider in dict.fromkeys(self._providers.values()):
            await provider.close()


def _of_all(outcomes: Sequence[Outcome], some_have_it: bool) -> Outcome:
    """The outcome of an event from the outcomes of its devices."""
    again = [one for one in outcomes if one.verdict is Verdict.RETRY]
    if again:
        return max(again, key=lambda one: one.after)
    for outcome in outcomes:
        if outcome.verdict is Verdict.DELIVERED:
            return outcome
    if some_have_it:
        return Outcome.delivered()
    if not outcomes:
        return Outcome.unwanted("the client has no devices")
    first = outcomes[0]
    if first.verdict is Verdict.DISABLE:
        return Outcome(Verdict.DEAD, f"{first.why}; the registration was removed", status=first.status)
    return first


def _check(settings: WebhookSettings) -> None:
    label = settings.label
    if settings.order != "none":
        raise SettingsError(f"{label}: order = {settings.order} is not possible: notifications are collapsed")
    for rule in settings.rules:
        if rule.event not in PUSHED:
            raise SettingsError(
                f"{label}: {rule.event} cannot be pushed: it is about no message for a client; "
                f"there are {', '.join(PUSHED)}"
            )
    if " " in settings.url:
        raise SettingsError(f"{label}: url must be one: that of MongoosePush")
    if not settings.url and not settings.options["fcm.credentials"] and not settings.options["apns.keyfile"]:
        raise SettingsError(
            f"{label}: url is missing: that of MongoosePush; or fcm.credentials, or apns.keyfile"
        )


PUSHED = ("on_message_queued", "on_message_dropped")
"""The events with a message that a client has not received."""


def _providers(settings: WebhookSettings, clock: Clock, make_transport: MakeTransport) -> dict[str, Provider]:
    """The provider of each service. Raises SettingsError or TlsError."""
    found: dict[str, Provider] = {}
    if settings.url:
        found = dict.fromkeys(SERVICES, MongoosePush(settings, clock, make_transport))
    for service, key, cls in (("fcm", "fcm.credentials", "Fcm"), ("apns", "apns.keyfile", "Apns")):
        if settings.options[key]:
            for library in ("httpx", "h2", "jwt", "cryptography"):
                if find_spec(library) is None:
                    raise SettingsError(
                        f"{settings.label}: {key} needs the package {library}; "
                        f'install it with: pip install "pybroker[push]"'
                    )
            found[service] = getattr(import_module(f"pybroker.webhook.push.{service}"), cls)(settings, clock)
    return found
