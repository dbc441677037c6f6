"""`$push/enable` and `$push/disable`: registers the devices that are notified of waiting messages."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pybroker.webhook.push.registration import (
    BadRegistrationError,
    Registration,
    device_of,
    read,
    registration,
)
from pybroker.webhook.push.registry import Bounds, FullError, Registry
from pybroker.webhook.push.store import StoreError

from ..config.settings import Settings
from ..engine.engine import Engine
from ..events import Client
from ..packets.reasons import ReasonCode

log = logging.getLogger("pybroker.push")

ENABLE, DISABLE = "$push/enable", "$push/disable"


class Push:
    """The registered devices. It starts before the webhooks, which need it for their first event, and stops
    after them."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self.registry = Registry(registrations_directory(settings), _bounds(settings))
        self._open = False

    @property
    def is_on(self) -> bool:
        return ENABLE in self._engine.commands

    async def open(self, settings: Settings) -> None:
        """Open the store, if an event pusher needs it. Raises StoreError."""
        if not serves_push(settings) or self._open:
            return
        await self.registry.open()
        self._open = True
        if self.registry.directory is None:
            log.warning(
                "push: registrations are kept in memory and end with the broker: neither"
                " push_registrations.path nor sqlite nor a spool of push says where to write them"
            )

    def use(self, settings: Settings) -> None:
        """Accept registrations from now on, or stop accepting them. Call ``open`` first."""
        commands = self._engine.commands
        self.registry.bounds = _bounds(settings)
        if serves_push(settings):
            commands.update({ENABLE: self._enable, DISABLE: self._disable})
        else:
            self._take_no_more()

    async def forget_all(self) -> None:
        """Remove all registrations."""
        for device in [*self.registry]:
            await self.forget(device)

    async def close(self) -> None:
        self._take_no_more()
        await self.registry.close()

    def _take_no_more(self) -> None:
        for topic in (ENABLE, DISABLE):
            self._engine.commands.pop(topic, None)

    # ---- what clients say

    async def _enable(self, client: Client, payload: bytes) -> ReasonCode:
        try:
            wanted = registration(client.client_id, read(payload), self._engine.clock.time())
            await self.registry.add(wanted)
        except BadRegistrationError as error:
            return _refused(client, ENABLE, error, ReasonCode.PAYLOAD_FORMAT_INVALID)
        except FullError as error:
            return _refused(client, ENABLE, error, ReasonCode.QUOTA_EXCEEDED)
        except StoreError as error:
            return _refused(client, ENABLE, error, ReasonCode.UNSPECIFIED_ERROR)
        log.info("push: client %s registered a device with %s", client.client_id, wanted.service)
        return ReasonCode.SUCCESS

    async def _disable(self, client: Client, payload: bytes) -> ReasonCode:
        """Remove one device, or with an empty payload all devices of the client."""
        try:
            device = device_of(read(payload)) if payload else None
            count = await self.registry.remove_all(client.client_id, device)
        except BadRegistrationError as error:
            return _refused(client, DISABLE, error, ReasonCode.PAYLOAD_FORMAT_INVALID)
        except StoreError as error:
            return _refused(client, DISABLE, error, ReasonCode.UNSPECIFIED_ERROR)
        log.info("push: client %s took back %d devices", client.client_id, count)
        return ReasonCode.SUCCESS

    # ---- what the event pushers ask

    def devices(self, client: str) -> Sequence[Registration]:
        return self.registry.of(client)

    def away(self, client: str) -> bool:
        session = self._engine.sessions.get(client)
        return session is None or session.channel is None

    def waiting(self, client: str) -> int:
        session = self._engine.sessions.get(client)
        if session is None:
            return 0
        return len(session.inflight.messages) + (len(session.queue) if session.queue is not None else 0)

    async def forget(self, device: Registration) -> None:
        log.info("push: a device of client %s is gone", device.client)
        try:
            await self.registry.remove(device)
        except StoreError as error:
            log.error("push: a device that is gone stays registered: %s", error)


def _refused(client: Client, topic: str, error: Exception, reason: ReasonCode) -> ReasonCode:
    log.warning("push: client %s published to %s: %s; nothing has changed", client.client_id, topic, error)
    return reason


def serves_push(settings: Settings) -> bool:
    """Whether an event pusher has `backend = push`."""
    return any(one.backend == "push" and one.enable for one in settings.event_pushers)


def registrations_directory(settings: Settings) -> Path | None:
    """Where registrations are written; None if they end with the broker."""
    if settings.push_registrations.path is not None:
        return settings.push_registrations.path
    if settings.sqlite is not None:
        return settings.sqlite.path
    spools = (one.spool.path for one in settings.event_pushers if one.backend == "push" and one.spool)
    return next(spools, None)


def _bounds(settings: Settings) -> Bounds:
    wanted = settings.push_registrations
    return Bounds(wanted.max, wanted.max_per_client, wanted.max_bytes)
