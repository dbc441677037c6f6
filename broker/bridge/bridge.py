"""One bridge: reaches the remote broker, keeps the link up, and knows how it is."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..engine.channel import Link as Transport
from ..engine.engine import Engine
from ..engine.publish import broadcast
from ..outgoing.tls import TlsError
from ..packets.model import VERSION_NAMES, SubscribeFilter
from . import greeting
from .asking import Asking
from .backlog import Backlog
from .counters import BridgeCounters
from .echoes import Echoes
from .farewell import end_session
from .local import LocalSession
from .loops import Loops
from .mirror import Mirror
from .opening import in_words, open_transport
from .poison import Poison
from .relay import Relay, RemoteLimits
from .remembered import Remembered
from .settings import Address, BridgeSettings
from .uplink import Uplink

log = logging.getLogger("pybroker.bridge")

REACH = 30.0
"""Seconds for a transport to be open."""
FIRST_DELAY = 1.0
"""Seconds until the first try after a failure, at least."""
LOOK_FOR_FIRST = 15.0
"""Seconds between looks whether an earlier server is back, while a later one is used."""

jitter = random.random
"""0 to 1: bridges that lost the same server do not all come back at the same moment."""

CONNECTED, CONNECTING, DISCONNECTED, DISABLED = "connected", "connecting", "disconnected", "disabled"


@dataclass(frozen=True, slots=True)
class BridgeStatus:
    """How a bridge is. Moments are seconds since the epoch."""

    name: str
    state: str
    """``connected``, ``connecting``, ``disconnected`` or ``disabled``."""
    since: float
    server: str
    """The one that is used or tried; empty where there is none."""
    version: int
    """The protocol level of the link, or of the last; 0: there was none."""
    last_error: str
    """Why the last link ended, or could not be made; empty: there was no reason yet."""
    next_try: float | None
    queued: int
    """Messages of QoS 1 and 2 that the remote broker has not acknowledged."""
    counters: BridgeCounters

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        found["counters"]["dropped"] = dict(self.counters.dropped)
        return found


class Bridge:
    """Made by :class:`~pybroker.broker.parts.bridges.Bridges`."""

    def __init__(
        self,
        engine: Engine,
        settings: BridgeSettings,
        loops: Loops,
        backlog: Backlog,
        echoes: Echoes,
        mirror: Mirror,
        remembered: Remembered,
    ) -> None:
        """``echoes`` is shared by the bridges to the same remote broker, the others by all bridges."""
        self._remembered = remembered
        self._mirror = mirror
        self.settings = settings
        self.local = LocalSession(engine, settings, backlog)
        self.counters = BridgeCounters()
        self._engine = engine
        self._loops = loops
        self._echoes = echoes
        self._task: asyncio.Task[None] | None = None
        self._probe: asyncio.Task[None] | None = None
        self._uplink: Uplink | None = None
        self._down: asyncio.Future[tuple[str, bool]] | None = None
        self._versions: dict[str, int] = {}
        """Which of the versions each server has taken."""
        self._poison = Poison()
        self._forgotten_by = ""
        """The server that has been told to forget the session."""
        self._state = DISABLED
        self._since = engine.clock.time()
        self._server = ""
        self._version = 0
        self._error = ""
        self._told = ""
        """The failure that the log has already."""
        self._next_try: float | None = None

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def broker_id(self) -> str:
        """What names this broker in the path of messages."""
        return self._loops.broker_id

    @property
    def status(self) -> BridgeStatus:
        return BridgeStatus(
            self.name,
            self._state,
            self._since,
            self._server,
            self._version,
            self._error,
            self._next_try,
            len(self.local),
            self.counters,
        )

    @property
    def uplink(self) -> Uplink | None:
        """The link, where it is up."""
        return self._uplink if self._uplink is not None and self._uplink.is_up else None

    def start(self) -> None:
        """Begin to connect; harmless where that has begun."""
        if self._task is None:
            self._told = ""
            self._set(CONNECTING)
            self._task = asyncio.create_task(self._run(), name=f"bridge {self.name}")

    @property
    def is_on(self) -> bool:
        """Whether it is to be connected."""
        return self._task is not None

    async def end_remote_sessions(self) -> None:
        """Once more to each server that may have a session of this bridge, which is removed."""
        servers = self._remembered.servers_of(self.name)
        if self.settings.ends_with_connection:
            servers = set()
        for address in self.settings.servers:
            if address.url not in servers:
                continue
            why = ""
            if address.url != self._forgotten_by:
                version = self.settings.versions[self._versions.get(address.url, 0)]
                why = await end_session(self.settings, address, version, self.broker_id)
            if why:
                log.warning(
                    "bridge %s is removed. Its session at %s, with the client identifier %s, may still"
                    " be there: %s",
                    self.name,
                    address.url,
                    self.settings.clientid,
                    why,
                )
            else:
                log.info("bridge %s is removed, and its session at %s has ended", self.name, address.url)
        self._remembered.forget(self.name, self.settings.clientid)

    def halt(self, *, for_good: bool = False) -> list[asyncio.Task[None]]:
        """Take leave of the remote broker at once, ``for_good`` also of the session there. Returns what may
        still be ending."""
        tasks = [task for task in (self._task, self._probe) if task is not None]
        self._task = self._probe = None
        if self._uplink is not None and self._uplink.close(for_good=for_good):
            self._forgotten_by = self._server
        for task in tasks:
            task.cancel()
        self._next_try = None
        if self._state != DISABLED:
            self._set(DISABLED)
        return tasks

    async def stop(self) -> None:
        """The same; what is not acknowledged stays in the local session."""
        for task in self.halt():
            with suppress(asyncio.CancelledError):
                await task

    # ---- what the uplink tells

    def link_up(self, uplink: Uplink) -> None:
        """The remote broker has let the bridge in."""
        self._error = self._told = ""
        self._version = uplink.version
        self._versions[self._server] = self.settings.versions.index((uplink.version, uplink.bridge_bit))
        self.counters.connects += 1
        self._loops.linked(self.settings.local_client_id, uplink.version)
        self._remembered.save()
        self._set(CONNECTED)
        bit = " with the bridge bit" if uplink.bridge_bit else ""
        name = VERSION_NAMES[uplink.version]
        waiting = len(self.local)
        log.info(
            "bridge %s: connected to %s, MQTT %s%s%s",
            self.name,
            self._server,
            name,
            bit,
            f"; {waiting} messages wait" if waiting else "",
        )
        if self.settings.send_retained:
            self.local.send_retained()
        self._engine.flush()

    def link_down(self, uplink: Uplink, why: str, *, other_version: bool = False) -> None:
        """It is over."""
        self.local.moved()
        self._remembered.save()
        self._look_for_poison(uplink)
        if self._down is not None and not self._down.done():
            self._down.set_result((why, other_version))

    def _look_for_poison(self, uplink: Uplink) -> None:
        if uplink.relay is None:
            return
        since = uplink.sends_since
        sent_for = self._engine.clock.monotonic() - since if since is not None else None
        closed_there = uplink.closed_there
        message = self._poison.link_ended(self.local.first, sent_for=sent_for, closed_there=closed_there)
        if message is not None:
            self.local.give_up(message)
            self.counters.dropped["closes_link"] += 1
            log.error(
                "bridge %s: %s closes the connection each time that it is sent the message of QoS %d to"
                ' "%s" (%d bytes), and keeps it open without; the message is dropped',
                self.name,
                self._server,
                message.qos,
                message.publish.topic,
                len(message.publish.payload),
            )
            self._engine.flush()

    @property
    def hold(self) -> float:
        """Seconds for which messages are held back on a new link."""
        return self._poison.hold

    def warned(self, text: str) -> None:
        """The remote broker has refused something."""
        self._error = text
        log.warning("bridge %s: %s: %s", self.name, self._server, text)

    def relay(self, remote: RemoteLimits) -> Relay:
        """For a link that has just come up."""
        assert self._uplink is not None
        remote = replace(
            remote,
            maximum_qos=min(remote.maximum_qos, self.settings.max_qos),
            maximum_packet_size=min(remote.maximum_packet_size, self.settings.max_packet_size),
        )
        return Relay(
            self.settings,
            remote,
            broker_id=self.broker_id,
            counters=self.counters,
            now=self._engine.clock.monotonic,
            echoes=self._echoes_of(self._uplink),
            max_topic_levels=self._engine.limits.max_topic_levels,
        )

    def _echoes_of(self, uplink: Uplink) -> Echoes | None:
        # With No Local of 5.0, or the bridge bit, nothing comes back over the same link.
        no_local = uplink.version == 5 or uplink.bridge_bit
        return self._echoes if self._echoes.concern(self.name, no_local=no_local) else None

    def others_changed(self) -> None:
        """Other bridges have begun, or ended."""
        if self._uplink is not None and self._uplink.relay is not None:
            self._uplink.relay.echoes = self._echoes_of(self._uplink)

    def asking(self, relay: Relay, version: int) -> Asking:
        """For a link that has just come up."""
        known = self._remembered.of(self.name, self.settings.clientid, self._server)
        return Asking(self.settings, relay, version, known)

    def wanted(self) -> list[SubscribeFilter]:
        """What the remote broker is asked for: the filters of the file, and those of local clients if the
        bridge is transparent."""
        found = {one.topic_filter: one for one in greeting.subscriptions(self.settings)}
        if self.settings.transparent:
            for topic_filter in self._mirror.filters:
                found.setdefault(topic_filter, _mirrored(topic_filter))
        return list(found.values())

    def follow(self, before: Bridge) -> None:
        """Take the place of ``before``: the sessions on both sides are the same."""
        self.local.lacks_retained |= before.local.lacks_retained

    def mirrored(self, topic_filter: str, wanted: bool) -> None:
        """Local clients have begun to want ``topic_filter``, or want it no more."""
        uplink = self.uplink
        if uplink is None or not self.settings.transparent:
            return
        if any(one.mapping.source == topic_filter for one in self.settings.subscriptions):
            return  # the file says how
        if wanted:
            uplink.subscribe([_mirrored(topic_filter)])
        else:
            uplink.unsubscribe(topic_filter)

    # ---- the link, again and again

    async def _run(self) -> None:
        delay = FIRST_DELAY
        while True:
            began = self._engine.clock.monotonic()
            try:
                why, was_up = await self._try_all()
            except Exception as error:
                log.exception("bridge %s has failed", self.name)
                why, was_up = f"the bridge has failed: {error}", False
            lasted = self._engine.clock.monotonic() - began
            if was_up and lasted > delay:
                delay = FIRST_DELAY
            else:
                delay = min(self.settings.backoff_max, FIRST_DELAY + jitter() * (3 * delay - FIRST_DELAY))
            pause = jitter() * FIRST_DELAY if was_up and delay == FIRST_DELAY else delay
            self._failed(why, pause, was_up)
            await self._sleep(pause)
            self._next_try = None
            self._set(CONNECTING)

    async def _try_all(self) -> tuple[str, bool]:
        """Try the servers in order; returns when a link that was up is over, or none could be made: why, and
        whether it was up."""
        why = ""
        for number, address in enumerate(self.settings.servers):
            self._server = address.url
            why, was_up = await self._serve(address, number)
            if was_up:
                return why, True
            if number + 1 < len(self.settings.servers):
                self._tell(f"{address.url}: {why}; the next server is tried")
        return why, False

    async def _serve(self, address: Address, number: int) -> tuple[str, bool]:
        """One link from its beginning to its end."""
        versions = self.settings.versions
        first = self._versions.get(address.url, 0)
        for version in versions[first:]:
            connects = self.counters.connects
            why, other_version = await self._link(address, version, number)
            if self.counters.connects != connects:
                return why, True
            if not other_version:
                break
        self._versions.pop(address.url, None)
        return why, False

    async def _link(self, address: Address, version: tuple[int, bool], number: int) -> tuple[str, bool]:
        self._down = asyncio.get_running_loop().create_future()

        def accept(transport: Transport, _: Any) -> Uplink:
            self._uplink = Uplink(
                self,
                self._engine,
                self.settings,
                self.local,
                self.counters,
                version,
                transport,
                self.broker_id,
            )
            return self._uplink

        try:
            async with asyncio.timeout(REACH):
                await open_transport(self.settings, address, accept, self._engine.mqtt.max_packet_size)
        except (OSError, TimeoutError, TlsError) as error:
            return in_words(error), False
        if number:
            self._probe = asyncio.create_task(self._look_for_first(number))
        try:
            return await self._down
        finally:
            self._uplink = None
            if self._probe is not None:
                self._probe.cancel()
                self._probe = None

    async def _look_for_first(self, number: int) -> None:
        """End the link once a server before it answers."""
        while True:
            await self._sleep(LOOK_FOR_FIRST)
            for address in self.settings.servers[:number]:
                if await self._answers(address) and self.uplink is not None:
                    log.info("bridge %s: %s answers again", self.name, address.url)
                    self.uplink.end(f"{address.url} is back")
                    return

    async def _answers(self, address: Address) -> bool:
        try:
            async with asyncio.timeout(REACH):
                if address.scheme == "unix":
                    _, writer = await asyncio.open_unix_connection(address.path)
                else:
                    _, writer = await asyncio.open_connection(address.host, address.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def _sleep(self, seconds: float) -> None:
        """By the broker's clock."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        clock = self._engine.clock
        timer = clock.call_at(clock.monotonic() + seconds, lambda: _finish(over))
        try:
            await over
        finally:
            timer.cancel()

    # ---- how it is

    def _failed(self, why: str, pause: float, was_up: bool) -> None:
        self._error = why
        self._next_try = self._engine.clock.time() + pause
        self._set(DISCONNECTED)
        if was_up:
            self._told = ""
        self._tell(f"{self._server}: {why}; tried again until it is there, next in {pause:.1f} s", why)

    def _tell(self, text: str, what: str = "") -> None:
        """One line for a failure, however often it comes."""
        what = what or text
        if what != self._told:
            self._told = what
            log.warning("bridge %s: %s", self.name, text)

    def _set(self, state: str) -> None:
        if state == self._state:
            return
        before, self._state = self._state, state
        self._since = self._engine.clock.time()
        if CONNECTED in (before, state) or before == DISABLED:
            payload = b"1" if state == CONNECTED else b"0"
            broadcast(self._engine, f"$SYS/broker/connection/{self.name}/state", payload, qos=1, retain=True)
            self._engine.flush()


def _mirrored(topic_filter: str) -> SubscribeFilter:
    return SubscribeFilter(topic_filter, 2, no_local=True, retain_as_published=True)


def _finish(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
