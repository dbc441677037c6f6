"""The bridges of the configuration file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from ..bridge.backlog import Backlog
from ..bridge.bridge import CONNECTED, Bridge, BridgeStatus
from ..bridge.echoes import Echoes
from ..bridge.loops import Loops
from ..bridge.mirror import Mirror
from ..bridge.remembered import FILE, Remembered
from ..bridge.settings import BridgeSettings
from ..config.settings import Settings
from ..engine.disconnect import end_session
from ..engine.engine import Engine
from ..outgoing.tls import client_context
from ..part import Apply, Part
from ..session.registry import INSIDE


class Bridges(Part):
    """Starts them, and replaces on reload those that have changed, no others."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings.bridges
        self._remembered = Remembered()
        self._directory = settings.sqlite.path if settings.sqlite is not None else None
        self._loops = engine.loops = Loops(engine, self._remembered.broker_id)
        self._echoes: dict[str, Echoes] = {}
        """By remote server."""
        self._backlog = engine.backlog = Backlog(engine)
        self._mirror = Mirror(engine)
        self._mirror.changed = self._mirrored
        self.all: dict[str, Bridge] = {}
        self._farewells: dict[str, asyncio.Task[None]] = {}
        """What ends the sessions of removed bridges at their remote brokers, by client identifier."""
        self._down: set[str] = set()
        """The names of bridges that an outage has cut."""

    async def start(self) -> None:
        self._check(self._settings)
        if self._directory is not None and (self._settings or (self._directory / FILE).exists()):
            self._remembered.open(self._directory, [one.name for one in self._settings])
            self._loops.broker_id = self._remembered.broker_id
        self._forget_all_but(settings.local_client_id for settings in self._settings)
        for settings in self._settings:
            self._begin(settings)

    async def prepare(self, settings: Settings) -> Apply:
        self._check(settings.bridges)

        def apply() -> None:
            wanted = {one.name: one for one in settings.bridges}
            before = dict(self.all)
            for name, bridge in list(self.all.items()):
                if wanted.get(name) != bridge.settings:
                    self._end(bridge, wanted.get(name))
            self._settings = settings.bridges
            self._forget_all_but(one.local_client_id for one in settings.bridges)
            for one in settings.bridges:
                if one.name not in self.all:
                    self._begin(one, before.get(one.name))

        return apply

    def add(self, settings: BridgeSettings) -> None:
        """Begin a bridge, or put it in the place of the one of that name; until the next reload. Raises
        TlsError."""
        self._check((settings,))
        if (before := self.all.get(settings.name)) is not None:
            self._end(before, settings)
        self._begin(settings, before)

    def remove(self, name: str) -> None:
        """End a bridge and its sessions on both sides, with what waits in them. Raises KeyError."""
        self._end(self.all[name], None)
        self._forget_all_but(bridge.settings.local_client_id for bridge in self.all.values())

    def switch(self, name: str, on: bool) -> None:
        """Let a bridge connect, or not any more; what comes waits in its session. Raises KeyError."""
        bridge = self.all[name]
        if on:
            bridge.start()
        else:
            bridge.halt()

    def take_down(self) -> None:
        """Cut every link, and make no more until :meth:`bring_up`."""
        for bridge in self.all.values():
            bridge.local.end()
            if bridge.is_on:
                bridge.halt()
                self._down.add(bridge.name)

    def bring_up(self) -> None:
        """Connect those again that were cut."""
        self._loops.forget()
        for name in self._down & self.all.keys():
            self.all[name].local.prepare()
            self.all[name].start()
        self._down.clear()

    def status(self) -> list[BridgeStatus]:
        """How each bridge is."""
        return [bridge.status for bridge in self.all.values()]

    async def leave(self) -> None:
        for task in list(self._farewells.values()):
            task.cancel()
        for bridge in self.all.values():
            await bridge.stop()

    def sys_values(self) -> Iterable[tuple[str, str]]:
        for name, bridge in self.all.items():
            status = bridge.status
            counters = status.counters
            yield f"bridges/{name}/connected", str(int(status.state == CONNECTED))
            yield f"bridges/{name}/queued", str(status.queued)
            yield f"bridges/{name}/messages/sent", str(counters.sent)
            yield f"bridges/{name}/messages/received", str(counters.received)
            yield f"bridges/{name}/messages/dropped", str(counters.dropped.total())

    def _check(self, bridges: Iterable[BridgeSettings]) -> None:
        """Raises TlsError where a certificate or key cannot be used."""
        for one in bridges:
            if any(address.encrypted for address in one.servers):
                client_context(one.tls, f"bridge {one.name}: ssl")

    def _begin(self, settings: BridgeSettings, before: Bridge | None = None) -> None:
        server = settings.servers[0].url
        if (farewell := self._farewells.pop(settings.clientid, None)) is not None:
            farewell.cancel()  # the session goes on
        echoes = self._echoes.setdefault(server, Echoes())
        echoes.join(settings)
        bridge = Bridge(
            self._engine, settings, self._loops, self._backlog, echoes, self._mirror, self._remembered
        )
        self.all[settings.name] = bridge
        self._others_changed()
        if before is not None:
            bridge.follow(before)
        if settings.transparent:
            self._mirror.attach()
        if settings.enable:
            bridge.start()

    def _mirrored(self, topic_filter: str, wanted: bool) -> None:
        for bridge in self.all.values():
            bridge.mirrored(topic_filter, wanted)

    def _end(self, bridge: Bridge, after: BridgeSettings | None) -> None:
        """Its session stays here: what waits in it goes out over the bridge that takes its place, which
        ``after`` describes. The one at the remote broker stays if that bridge goes on with it."""
        del self.all[bridge.name]
        for echoes in self._echoes.values():
            echoes.leave(bridge.name)
        before = bridge.settings
        gone = after is None or (after.clientid, after.servers) != (before.clientid, before.servers)
        bridge.halt(for_good=gone)
        if gone:
            task = asyncio.create_task(bridge.end_remote_sessions(), name=f"bridge {bridge.name}: farewell")
            self._farewells[before.clientid] = task
            task.add_done_callback(partial(self._farewell_done, before.clientid))
        bridge.local.end()
        self._loops.linked(bridge.settings.local_client_id, 0)
        self._others_changed()

    def _farewell_done(self, clientid: str, task: asyncio.Task[None]) -> None:
        if self._farewells.get(clientid) is task:
            del self._farewells[clientid]

    def _others_changed(self) -> None:
        self._loops.use((one.settings, one.counters) for one in self.all.values())
        for bridge in self.all.values():
            bridge.others_changed()

    def _forget_all_but(self, kept: Iterable[str]) -> None:
        """Sessions of bridges that the file has no more keep messages for nobody."""
        wanted = set(kept)
        for session in list(self._engine.sessions):
            if session.client_id.startswith(INSIDE) and session.client_id not in wanted:
                end_session(self._engine, session, "bridge_removed")
