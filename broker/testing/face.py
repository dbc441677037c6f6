"""The interface of the test broker that synchronous and asynchronous tests share."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, Unpack

from ..bridge.bridge import CONNECTED
from ..config.bridges import bridge_of
from ..config.settings import TlsServer
from ..engine.publish import broadcast
from ..faults.fault import AimAndAmount
from ..faults.rules import Rule, make
from ..faults.seen import SeenPacket
from ..packets.properties import Properties
from ..packets.reasons import ReasonCode
from . import messages as views
from .asked import (
    PublishProperties,
    checked_action,
    checked_qos,
    checked_topic,
    encoded,
    message_test,
    packet_test,
    properties_of,
)
from .clock import VirtualClock
from .messages import ClientView, Message, SubscriptionView
from .recorder import Recorder
from .report import report
from .running import Running
from .waiting import TIMEOUT, Plan, Search, WaitTimeout
from .webhooks import Webhook, Webhooks

T = TypeVar("T")


class ConnectionLeftBehind(UserWarning):
    """A warning: a client was still connected when its test ended."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of one listener."""

    host: str
    port: int
    """0 for a unix socket."""
    url: str
    path: str = ""
    """The URL path of ws and wss, the file of a unix socket."""
    cafile: Path | None = None
    """For TLS: the CA certificate that clients have to trust."""


class Clock:
    """The broker's clock. Only a virtual one can be advanced."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._running.clock.time()

    def advance(self, seconds: float) -> None:
        """Advance the time by ``seconds`` without sleeping. All timers that are due fire, in order:
        keepalives, expiry of sessions and messages, wills, retries of webhooks. Their work is done when this
        returns."""
        clock = self._running.clock
        if not isinstance(clock, VirtualClock):
            raise RuntimeError("this broker uses the real clock; make it with virtual_clock=True")
        self._running.run(clock.advance(seconds)).result()


class Face:
    """The part of the test broker that need not wait for clients: the same for tests with and without an
    event loop."""

    def __init__(self, running: Running) -> None:
        self.running = running
        """Internal: the running broker."""
        self.clock = Clock(running)

    # ---- where it is

    @property
    def host(self) -> str:
        """The port of the tcp listener, or else of the first listener."""
        return self.address(None).host

    @property
    def port(self) -> int:
        return self.address(None).port

    @property
    def url(self) -> str:
        """The URL, such as ``mqtt://127.0.0.1:40123``."""
        return self.address(None).url

    @property
    def tls(self) -> Address:
        """The ssl listener."""
        return self.address("ssl")

    @property
    def ws(self) -> Address:
        return self.address("ws")

    @property
    def wss(self) -> Address:
        return self.address("wss")

    @property
    def listeners(self) -> dict[str, Address]:
        """The addresses of all listeners, by their names in the configuration."""
        return {one.settings.name: self.address(one.settings.name) for one in self.running.app.listeners}

    @property
    def page_url(self) -> str:
        """The URL of the page that shows the running broker; the REST API is below it."""
        url = self.running.app.rest.url
        if url is None:
            raise RuntimeError("this broker serves no page; make it with page=True")
        return url

    def address(self, name: str | None) -> Address:
        """The listener of this name, or of this type; None: the one that a client would use by default."""
        found = self.running.app.listeners.all
        if name is None:
            one = next((one for one in found if one.settings.name == "tcp"), found[0])
        else:
            fitting = [one for one in found if name in (one.settings.name, one.settings.type)]
            if not fitting:
                there = ", ".join(one.settings.name for one in found)
                raise RuntimeError(
                    f"this broker has no {name} listener, only {there}; make it with "
                    f"{'ws=True' if name == 'ws' else 'tls=True, ws=True' if name == 'wss' else 'tls=True'}"
                )
            one = fitting[0]
        facts = one.facts
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(facts["host"], facts["host"])  # noqa: S104
        tls = one.settings.tls
        cafile = _trusted(tls) if tls is not None else None
        url = one.url.replace(facts["host"], host, 1)
        return Address(host, facts["port"], url, facts.get("path", ""), cafile)

    # ---- what happened

    @property
    def _recorder(self) -> Recorder:
        return self.running.recorder

    def messages(
        self, topic_filter: str = "#", *, client: str | None = None, since: Message | float | None = None
    ) -> list[Message]:
        """The published messages, oldest first; ``#`` leaves ``$SYS`` out, as in MQTT. ``client`` is the
        publisher; ``since`` is an earlier message, or seconds since the epoch."""
        fits = message_test(topic_filter, client, since, own=True)
        return [one for one in list(self._recorder.messages) if fits(one)]

    def packets(
        self, type: str | None = None, *, client: str | None = None, direction: str | None = None
    ) -> list[SeenPacket]:
        """The packets on the wire in both directions, oldest first; ``CLOSED`` is the end of a connection."""
        fits = packet_test(type, client, direction)
        return [one for one in list(self._recorder.packets) if fits(one)]

    @property
    def webhooks(self) -> Webhooks:
        """The webhooks, each with its tries; ``answer_with`` sets the endpoint's answers."""
        return self._recorder.webhooks

    @property
    def clients(self) -> dict[str, ClientView]:
        """The clients that are connected, by their identifiers."""
        return {name: one for name, one in self.sessions.items() if one.connected}

    @property
    def sessions(self) -> dict[str, ClientView]:
        """All sessions, also those of clients that are away."""
        return self._call(lambda: views.clients(self.running.engine))

    @property
    def subscriptions(self) -> list[SubscriptionView]:
        """All subscriptions of all sessions."""
        return self._call(lambda: views.subscriptions(self.running.engine))

    @property
    def retained(self) -> dict[str, Message]:
        """The retained messages by topic, without ``$SYS``."""
        return self._call(lambda: views.retained(self.running.engine))

    def report(self) -> str:
        """The last packets and webhooks, as readable text."""
        return report(self._recorder)

    # ---- what a test does

    def publish(
        self,
        topic: str,
        payload: bytes | str | Any = b"",
        *,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
        **named: Unpack[PublishProperties],
    ) -> None:
        """Publish a message as the broker. Text is sent as UTF-8, None as an empty payload, any other value
        except bytes as JSON. MQTT 5.0's properties have their own names: ``content_type="text/plain"``,
        ``user_properties={"unit": "K"}``. Raises ValueError for an invalid topic or QoS, TypeError for an
        unknown name."""
        checked_topic(topic)
        checked_qos(qos)
        data, given = encoded(payload), properties_of(named) or properties

        def send() -> None:
            engine = self.running.engine
            self._recorder.publishing = True
            try:
                broadcast(engine, topic, data, qos=qos, retain=retain, properties=given)
            finally:
                self._recorder.publishing = False
            engine.flush()

        self._call(send)

    def disconnect(self, client: str, reason: ReasonCode = ReasonCode.ADMINISTRATIVE_ACTION) -> None:
        """Disconnect a client. Raises KeyError if it is not connected."""

        def close() -> None:
            session = self.running.engine.sessions.get(client)
            if session is None or session.channel is None:
                raise KeyError(f"{client} is not connected")
            session.channel.close(reason, "kicked", "disconnected by the test")

        self._call(close)

    @contextmanager
    def faults(self, action: str, **aim_and_amount: Unpack[AimAndAmount]) -> Iterator[Rule]:
        """A fault that is in force while the ``with`` block runs: ``broker.faults("drop", packet="PUBACK",
        times=1)``. `pybroker.testing.Fault` lists the arguments. Returns the rule, whose ``fired`` is the
        number of strikes. Raises FaultError."""
        fault = make({"action": action, **aim_and_amount})
        rule = self._call(lambda: self.running.faults.add(fault))
        try:
            yield rule
        finally:
            if self.running.is_running:
                self._call(lambda: self.running.faults.remove(rule.number))

    @contextmanager
    def outage(self, *, keep_state: bool = True) -> Iterator[None]:
        """Take the broker down while the ``with`` block runs: all clients are disconnected, and none can
        connect. Without ``keep_state`` sessions and retained messages are lost. The port stays the same."""
        self._call(lambda: self.running.app.outage.take_down(keep_state))
        try:
            yield
        finally:
            if self.running.is_running:
                self.running.run(self.running.bring_up(keep_state)).result()

    def restart(self, *, keep_state: bool = True) -> None:
        """Take the broker down and up again."""
        with self.outage(keep_state=keep_state):
            pass

    def reset(self) -> None:
        """Reset the broker to its state after the start: no messages, sessions, retained messages, records,
        faults or outages. Ports and time continue. A client that is still connected is disconnected, with a
        ConnectionLeftBehind warning."""
        self._warn(self.running.run(self.running.reset()).result())

    def bridge_to(
        self,
        other: Face,
        *,
        forwards: Sequence[Mapping[str, Any]] = (),
        subscription: Sequence[Mapping[str, Any]] = (),
        name: str = "bridge",
        **keys: Any,
    ) -> None:
        """Join this broker to ``other``, as `bridges.mqtt.NAME` does; ``keys`` are its further keys.
        Returns when the link is up. Faults and outages of ``other`` work on the link, whose client identifier
        there is ``clientid``, by default ``name``.

        Raises ConfigError for a key that is wrong, WaitTimeout where the link does not come up.
        """
        section = {
            "server": f"mqtt-tcp://{other.host}:{other.port}",
            "clientid": name,
            "forwards": [{"remote_topic": "", **one} for one in forwards],
            "subscription": [{"local_topic": "", "qos": 2, **one} for one in subscription],
            **keys,
        }
        other.running.bridges.add(str(section["clientid"]))
        bridges = self.running.app.bridges
        self._call(lambda: bridges.add(bridge_of(name, section, os.environ)))
        end = time.monotonic() + TIMEOUT
        while (now := self._call(lambda: bridges.all[name].status)).state != CONNECTED:
            if time.monotonic() > end:
                raise WaitTimeout(f"the bridge {name} is not connected: {now.last_error or now.state}")
            time.sleep(0.001)

    def _call(self, function: Callable[[], T]) -> T:
        return self.running.call(function)

    def _warn(self, left: Sequence[str]) -> None:
        for name in left:
            warnings.warn(f"left connected: {name}", ConnectionLeftBehind, stacklevel=3)

    # ---- what is waited for

    def _messages(
        self,
        topic: str,
        count: int | None,
        *,
        client: str | None = None,
        since: Message | float | None = None,
        own: bool = False,
        where: Callable[[Message], object] | None = None,
    ) -> Plan[Message]:
        wanted = f'messages to "{topic}"' + (f" of {client}" if client else "")
        search = Search[Message](wanted, count, message_test(topic, client, since, own), where)
        return self._plan(search, Message, lambda: self._recorder.messages)

    def _packets(
        self,
        type: str,
        count: int | None,
        *,
        client: str | None = None,
        direction: str | None = None,
        where: Callable[[SeenPacket], object] | None = None,
    ) -> Plan[SeenPacket]:
        wanted = " ".join(word for word in (type, direction, client and f"of {client}") if word)
        search = Search[SeenPacket](wanted, count, packet_test(type, client, direction), where)
        return self._plan(search, SeenPacket, lambda: self._recorder.packets)

    def _webhooks(
        self,
        action: str | None,
        count: int | None,
        *,
        delivered: bool = True,
        where: Callable[[Webhook], object] | None = None,
    ) -> Plan[Webhook]:
        named = checked_action(action)

        def fits(hook: Webhook) -> bool:
            return (named is None or hook.action == named) and (hook.delivered or not delivered)

        wanted = " ".join(word for word in ("webhooks", action, "delivered" if delivered else "") if word)
        search = Search[Webhook](wanted, count, fits, where)
        return self._plan(search, Webhook, lambda: self._recorder.webhooks)

    def _plan(self, search: Search[T], kind: type[T], there: Callable[[], Iterable[T]]) -> Plan[T]:
        def begin(listener: Callable[[T], None]) -> list[T]:
            self._recorder.listen(kind, listener)
            return list(there())

        return Plan(
            search,
            lambda listener: self._call(lambda: begin(listener)),
            lambda listener: self._call(lambda: self._recorder.unlisten(kind, listener)),
        )

    def _unfinished(self) -> list[str]:
        return self._call(self.running.unfinished)

    def _still(self) -> str:
        return "still on their way:\n" + "\n".join(f"  {line}" for line in self._unfinished())

    def _who(self, client: str, connected: bool) -> str:
        there = ", ".join(self.clients) or "nobody"
        return f"{client} is {'not' if connected else 'still'} connected; connected: {there}\n{self.report()}"


def _trusted(tls: TlsServer) -> Path:
    """The CA certificate; without one, the self-signed certificate."""
    made = tls.certfile.with_name("ca.pem")
    return tls.cacertfile or (made if made.exists() else tls.certfile)
