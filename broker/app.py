"""The broker put together: settings in, listeners open; and taken apart again in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pybroker.webhook.backend import MakeTransport
from pybroker.webhook.body.signature import SecretError
from pybroker.webhook.http.client import TlsError, open_transport
from pybroker.webhook.loading import LoadError
from pybroker.webhook.reports import sys_values
from pybroker.webhook.settings import SettingsError
from pybroker.webhook.sink import Left, Sink
from pybroker.webhook.spool.files import SpoolError

from .access.errors import AccessError
from .clock import Clock
from .config.changes import Change, compare
from .config.settings import Settings
from .engine.channel import Channel
from .engine.engine import Engine
from .events import MessagePublished
from .faults.channel import WatchedChannel
from .faults.outage import Outage
from .faults.rules import Faults
from .hooks import Hooks
from .loop_clock import LoopClock
from .packets.reasons import ReasonCode
from .parts.admission import Admission
from .parts.presets import add_preset_sessions
from .parts.sys_topics import SysTopics
from .plugins.errors import PluginError
from .transport.errors import ListenError
from .transport.listener import Listener, OpenChannel
from .transport.tls import ServerContext

log = logging.getLogger("pybroker")

START_ERRORS = (
    AccessError,
    ListenError,
    LoadError,
    PluginError,
    SecretError,
    SettingsError,
    SpoolError,
    TlsError,
)
"""What keeps a broker from starting: each says in one line what is wrong with which part."""


class App:
    """One broker. Make and start it inside the event loop that is to serve it; both may raise any of
    START_ERRORS.

    A test hands in what it wants to hold in its own hands: the time, where webhooks are posted to, and
    what is made of each connection.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        webhook_transport: MakeTransport = open_transport,
        faults: Faults | None = None,
        open_channel: OpenChannel | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or LoopClock(asyncio.get_running_loop())
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self.engine = Engine(self.clock, self._spawn, settings.mqtt, settings.limits)
        self.admission = Admission(self.engine, settings, self._port_of)
        self.engine.doors.set(settings.limits, settings.listeners, self.clock.monotonic())
        self.webhooks = Sink(settings.webhooks, clock=self.clock, transport=webhook_transport)
        self.sys_topics = SysTopics(
            self.engine, settings.sys.interval, lambda: sys_values(self.webhooks.stats())
        )
        self.faults = faults or (Faults() if settings.faults is not None else None)
        if open_channel is None:
            open_channel = Channel if self.faults is None else partial(WatchedChannel, self.faults, None)
        self.listeners = [Listener(self.engine, one, open_channel) for one in settings.listeners]
        self.outage = Outage(self.engine, self.listeners)
        self.start_faults()

    async def start(self) -> None:
        """Open everything, the listeners last. Where it raises, nothing stays open."""
        await self.webhooks.start()
        attach(self.webhooks, self.engine.hooks)
        self.engine.start()
        self.sys_topics.start()
        try:
            await self.admission.before_listening()
            add_preset_sessions(self.engine, self.settings.presets)
            for listener in self.listeners:
                await listener.open()
        except BaseException:
            await self.stop(grace=0)
            raise

    def start_faults(self) -> None:
        """The configuration's faults are in force, and no others."""
        if self.faults is not None:
            self.faults.clear()
            self.faults.restart = self.outage.restart
            for fault in self.settings.faults or ():
                self.faults.add(fault)

    async def stop(self, grace: float | None = None) -> list[Left]:
        """Accept nobody more, tell the clients [MQTT-4.13.1-1], give the webhooks ``grace`` seconds (None:
        as configured) to empty. Returns what they had left."""
        for listener in self.listeners:
            listener.close()
        await self.admission.before_shutdown()
        for channel in list(self.engine.channels):
            channel.close(ReasonCode.SERVER_SHUTTING_DOWN, "server_shutdown", "the broker is stopping")
        for channel in list(self.engine.parting):
            channel.link.abort()
        left = await self.webhooks.stop(grace)
        await self.admission.after_shutdown()
        for task in self._tasks:
            task.cancel()
        self.clock.stop()
        return left

    async def reload(self, new: Settings) -> list[Change]:
        """Go by ``new`` as far as that is possible while running. Returns what it has otherwise, and whether
        that holds now; `log` is for whoever has set up the log. Raises one of START_ERRORS; then nothing has
        changed."""
        async with self._reloading:
            settings, changes = compare(self.settings, new)
            access = self.admission.prepare(settings)
            certificates = self._load_certificates(settings)
            await self._replace_webhooks(settings)

            # From here on nothing can fail.
            before = self.admission.use(settings, access)
            self.engine.use(settings.mqtt, settings.limits)
            self.engine.doors.set(settings.limits, settings.listeners, self.clock.monotonic())
            for listener, loaded in certificates:
                listener.use_certificates(loaded)
            self.settings = settings
            self._spawn(before.close(finish=True), lambda _: None)
            return changes

    def _load_certificates(self, settings: Settings) -> list[tuple[Listener, ServerContext]]:
        """All of them, also where the file names the same: what is in them may have changed."""
        tls = {one.name: one.tls for one in settings.listeners}
        return [
            (listener, listener.load_certificates(named))
            for listener in self.listeners
            if (named := tls.get(listener.settings.name)) is not None
        ]

    async def _replace_webhooks(self, settings: Settings) -> None:
        """What happens in the meantime is offered to the old and to the new endpoints alike."""
        hooks = self.engine.hooks
        hooks.forget(self.webhooks.offer)
        for event in Hooks.SLOT_OF:
            hooks.observe(event, self.webhooks.offer)
        self.engine.router.forget_all_routes()
        try:
            left = await self.webhooks.replace(settings.webhooks)
        finally:
            hooks.forget(self.webhooks.offer)
            attach(self.webhooks, hooks)
            self.engine.router.forget_all_routes()
        for one in left:
            log.warning("%s", one)

    def _port_of(self, listener: str) -> int:
        return next((one.port for one in self.listeners if one.settings.name == listener), 0)

    def _spawn(self, answer: Awaitable[Any], then: Callable[[Any], None]) -> None:
        task = asyncio.ensure_future(_hand_on(answer, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _hand_on(answer: Awaitable[Any], then: Callable[[Any], None]) -> None:
    then(await answer)


def attach(webhooks: Sink, hooks: Hooks) -> None:
    """Tell the webhooks of what their rules name, and of nothing else."""
    for event in Hooks.SLOT_OF:
        if not webhooks.wants(event):
            continue
        if event is MessagePublished:
            hooks.observe(event, webhooks.offer, topics=webhooks.wants_topic)
        else:
            hooks.observe(event, webhooks.offer)
