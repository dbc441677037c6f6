"""The part for `webhook {}` and `event_pusher {}`: passes the engine's events to the endpoints that want
them."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pybroker.webhook.backends.topic import PUBLISHER
from pybroker.webhook.http.transport import MakeTransport
from pybroker.webhook.reports import sys_values
from pybroker.webhook.sink import Sink

from ..config.settings import Settings
from ..engine.engine import Engine
from ..engine.publish import broadcast
from ..events import MessagePublished
from ..hooks import Hooks
from ..part import Apply, Part
from .push import Push

log = logging.getLogger("pybroker")


class Webhooks(Part):
    """Raises SettingsError, LoadError, SecretError or TlsError if an endpoint cannot work, StoreError if
    registrations for push cannot be kept."""

    def __init__(self, engine: Engine, settings: Settings, transport: MakeTransport) -> None:
        self._engine = engine
        self._settings = settings
        self.push = Push(engine, settings)
        self._transport = transport
        self.sink = self._make_sink()

    def _make_sink(self) -> Sink:
        return Sink(
            self._settings.endpoints,
            clock=self._engine.clock,
            transport=self._transport,
            publish=self._publish,
            audience=self.push,
        )

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        broadcast(self._engine, topic, payload, qos=qos, retain=retain, source=PUBLISHER)
        self._engine.flush()

    async def start(self) -> None:
        await self.push.open(self._settings)
        await self.sink.start()
        self.push.use(self._settings)
        self._attach()

    async def start_anew(self) -> None:
        """Start again with the endpoints that the broker started with. Events that wait for the current
        endpoints are discarded."""
        self._engine.hooks.forget(self.sink.offer)
        await self.sink.stop(0)
        await self.push.forget_all()
        self.sink = self._make_sink()
        await self.start()
        self._engine.router.forget_all_routes()

    async def prepare(self, settings: Settings) -> Apply:
        """Replaces the endpoints at once: all of them, or none if one cannot work. So this part is prepared
        last. Events that happen between this call and the end of the reload go to the old and the new
        endpoints."""
        await self.push.open(settings)
        hooks = self._engine.hooks
        hooks.forget(self.sink.offer)
        for event in Hooks.SLOT_OF:
            hooks.observe(event, self.sink.offer)
        self._engine.router.forget_all_routes()
        try:
            left = await self.sink.replace(settings.endpoints)
        finally:
            hooks.forget(self.sink.offer)
            self._attach()
            self._engine.router.forget_all_routes()
        self.push.use(settings)
        for one in left:
            log.warning("%s", one)
        return await super().prepare(settings)

    async def stop(self, grace: float | None) -> list[str]:
        left = [str(left) for left in await self.sink.stop(grace)]
        await self.push.close()
        return left

    def sys_values(self) -> Iterable[tuple[str, str]]:
        return sys_values(self.sink.stats())

    def _attach(self) -> None:
        """Pass the events that the endpoints' rules name, and no others."""
        hooks, sink = self._engine.hooks, self.sink
        for event in Hooks.SLOT_OF:
            if not sink.wants(event):
                continue
            if event is MessagePublished:
                hooks.observe(event, sink.offer, topics=sink.wants_topic)
            else:
                hooks.observe(event, sink.offer)
