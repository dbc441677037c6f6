"""Passes the engine's events to amqtt's plugins, as `on_broker_*`.

An event costs a task for each plugin that has the method for it, and nothing where no plugin has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from amqtt.broker import BrokerContext
from amqtt.events import BrokerEvents, MQTTEvents
from amqtt.plugins.base import BasePlugin

from ..engine.engine import Engine
from ..events import (
    ClientConnected,
    ClientDisconnected,
    MessageDropped,
    MessageEvent,
    MessagePublished,
    MessageQueued,
    MessageRetained,
    SessionSubscribed,
    SessionTerminated,
    SessionUnsubscribed,
)
from .amqtt_views import PublishedMessage, SessionViews, retained_message

Callback = Callable[..., Coroutine[Any, Any, Any]]

log = logging.getLogger("pybroker.plugins")


class PluginEvents:
    """The plugins' methods for each event, and the running handlers."""

    def __init__(self, plugins: Sequence[BasePlugin[BrokerContext]], views: SessionViews) -> None:
        self._plugins = tuple(plugins)
        self._views = views
        self._callbacks: dict[str, list[tuple[str, Callback]]] = {}
        for plugin in plugins:
            for event in (*BrokerEvents, *MQTTEvents):
                if (callback := getattr(plugin, f"on_{event}", None)) is not None:
                    self._callbacks.setdefault(event, []).append((type(plugin).__qualname__, callback))
        self._running: dict[asyncio.Task[None], str] = {}
        self.subscribing = False
        """Set while a plugin subscribes for a session, because amqtt reports only the clients' own
        subscriptions."""

    def wanted(self, *events: str) -> bool:
        """Whether any plugin has a method for any of these."""
        return not self._callbacks.keys().isdisjoint(events)

    def fire(self, event: str, **facts: Any) -> list[asyncio.Task[None]]:
        """Start each plugin's method for ``event``."""
        return [
            self._run(f"{plugin}.on_{event}", partial(callback, **facts))
            for plugin, callback in self._callbacks.get(event, ())
        ]

    async def fire_and_wait(self, event: str) -> None:
        """The same, and wait for them."""
        tasks = self.fire(event)
        if tasks:
            await asyncio.wait(tasks)

    async def finish(self, seconds: float) -> None:
        """Wait at most ``seconds`` for running methods; then cancel them."""
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=seconds)
        for task in late:
            log.error("%s did not end within %g s and is cancelled", self._running[task], seconds)
            task.cancel()

    async def close(self, seconds: float) -> None:
        """Close each plugin."""
        for plugin in self._plugins:
            self._run(f"{type(plugin).__qualname__}.close", plugin.close)
        await self.finish(seconds)

    def attach(self, engine: Engine) -> None:
        """Observe the engine's events that plugins have methods for."""
        observe = engine.hooks.observe
        if self._views.keep:
            observe(ClientConnected, self._connected)
            observe(ClientDisconnected, self._disconnected)
            observe(SessionTerminated, lambda event: self._views.terminated(event.client))
        if self.wanted(BrokerEvents.CLIENT_SUBSCRIBED):
            observe(SessionSubscribed, self._subscribed)
        if self.wanted(BrokerEvents.CLIENT_UNSUBSCRIBED):
            observe(SessionUnsubscribed, self._unsubscribed)
        if self.wanted(BrokerEvents.RETAINED_MESSAGE):
            observe(MessageRetained, self._retained)
            observe(MessageQueued, self._queued)
        if self.wanted(BrokerEvents.MESSAGE_RECEIVED, BrokerEvents.MESSAGE_BROADCAST):
            observe(MessagePublished, self._published)
        if self.wanted(BrokerEvents.MESSAGE_RECEIVED):
            observe(MessageDropped, self._denied)
        engine.router.forget_all_routes()  # they hold the observers of their topic

    def _run(self, name: str, method: Callback) -> asyncio.Task[None]:
        task = asyncio.ensure_future(_logged(name, method))
        self._running[task] = name
        task.add_done_callback(self._running.pop)
        return task

    def _connected(self, event: ClientConnected) -> None:
        session = self._views.connected(event.client)
        self.fire(BrokerEvents.CLIENT_CONNECTED, client_id=event.client.client_id, client_session=session)

    def _disconnected(self, event: ClientDisconnected) -> None:
        session = self._views.disconnected(event.client)
        if event.admitted:
            self.fire(
                BrokerEvents.CLIENT_DISCONNECTED,
                client_id=event.client.client_id,
                client_session=session or self._views.of_client(event.client),
            )

    def _subscribed(self, event: SessionSubscribed) -> None:
        if not self.subscribing:
            self.fire(
                BrokerEvents.CLIENT_SUBSCRIBED,
                client_id=event.client.client_id,
                topic=event.topic,
                qos=event.qos,
            )

    def _unsubscribed(self, event: SessionUnsubscribed) -> None:
        self.fire(BrokerEvents.CLIENT_UNSUBSCRIBED, client_id=event.client.client_id, topic=event.topic)

    def _retained(self, event: MessageRetained) -> None:
        """A message was retained for a topic. A message without data has cleared it."""
        message = retained_message(event.topic, event.payload, event.qos)
        if event.publisher is not None:
            message.source_session = self._views.of_client(event.publisher)
        self.fire(BrokerEvents.RETAINED_MESSAGE, client_id=None, retained_message=message)

    def _queued(self, event: MessageQueued) -> None:
        """A message was queued for a client that is not connected."""
        message = retained_message(event.topic, event.payload, event.qos)
        self.fire(BrokerEvents.RETAINED_MESSAGE, client_id=event.client.client_id, retained_message=message)

    def _published(self, event: MessagePublished) -> None:
        if event.publisher is not None:
            self._tell_of_message(event, BrokerEvents.MESSAGE_RECEIVED)
            self._tell_of_message(event, BrokerEvents.MESSAGE_BROADCAST)

    def _denied(self, event: MessageDropped) -> None:
        """A message counts as received even if its client may not publish it."""
        if event.reason == "not_authorized" and event.client is not None:
            self._tell_of_message(event, BrokerEvents.MESSAGE_RECEIVED, event.client.client_id)

    def _tell_of_message(self, event: MessageEvent, name: str, client_id: str = "") -> None:
        if event.publisher is not None:
            client_id = event.publisher.client_id
        message = PublishedMessage(None, event.topic, event.qos, event.payload, event.retain)
        self.fire(name, client_id=client_id, message=message)


async def _logged(name: str, method: Callback) -> None:
    try:
        await method()
    except Exception:
        log.exception("plugin method %s failed", name)
