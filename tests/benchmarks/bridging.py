"""A bridge whose remote broker is a list of bytes."""

from __future__ import annotations

from pybroker.broker.bridge.asking import Asking
from pybroker.broker.bridge.backlog import Backlog
from pybroker.broker.bridge.counters import BridgeCounters
from pybroker.broker.bridge.local import LocalSession
from pybroker.broker.bridge.mapping import Mapping
from pybroker.broker.bridge.relay import Relay, RemoteLimits
from pybroker.broker.bridge.settings import Address, BridgeSettings, Forward, RemoteSubscription
from pybroker.broker.bridge.uplink import Uplink
from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.encoder import encode
from pybroker.broker.packets.model import Connack, Packet, SubscribeFilter, singly
from tests.harness import LARGEST, Broker, FakeLink


class FarBroker:
    """The link of a bridge to a broker that has let it in; everything goes out, and may come in."""

    def __init__(self, broker: Broker, version: int) -> None:
        every = Mapping.of("#")
        self._settings = BridgeSettings(
            "up",
            True,
            (Address("mqtt-tcp://far", "mqtt-tcp", "far"),),
            "bridge",
            forwards=(Forward(every),),
            subscriptions=(RemoteSubscription(every, 2),),
        )
        self._broker = broker
        self._counters = BridgeCounters()
        self._link = FakeLink()
        self._decoder = Decoder(LARGEST)
        self._decoder.version = version
        local = LocalSession(broker.engine, self._settings, Backlog(broker.engine))
        self.uplink = Uplink(
            self, broker.engine, self._settings, local, self._counters, (version, False), self._link, "here"
        )
        self.uplink.received(encode(Connack(session_present=True), version))
        self.packets()

    def packets(self) -> list[Packet]:
        """What it was sent since the last call."""
        data = bytes(self._link.written)
        self._link.written.clear()
        return list(singly(self._decoder.feed(data)))

    # ---- what the uplink asks its owner

    hold = 0.0

    def link_up(self, uplink: Uplink) -> None: ...
    def link_down(self, uplink: Uplink, why: str, *, other_version: bool = False) -> None:
        raise AssertionError(why)

    def warned(self, text: str) -> None:
        raise AssertionError(text)

    def relay(self, remote: RemoteLimits) -> Relay:
        clock = self._broker.clock
        return Relay(self._settings, remote, broker_id="here", counters=self._counters, now=clock.monotonic)

    def asking(self, relay: Relay, version: int) -> Asking:
        return Asking(self._settings, relay, version, set())

    def wanted(self) -> list[SubscribeFilter]:
        return []
