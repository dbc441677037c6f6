"""One connection to the remote broker, from its first byte to its last."""

from __future__ import annotations

from typing import Protocol

from ..clock import Timer
from ..engine.channel import Channel
from ..engine.channel import Link as Transport
from ..engine.engine import Engine
from ..packets.decoder import Decoder
from ..packets.encoder import PINGREQ, encode
from ..packets.errors import ProtocolError
from ..packets.model import (
    Connack,
    Disconnect,
    Suback,
    SubscribeFilter,
    Unsuback,
)
from ..packets.properties import Properties
from . import greeting
from .asking import Asking
from .counters import BridgeCounters
from .local import Link, LocalSession
from .opening import Endpoint
from .relay import Relay, RemoteEndedError, RemoteLimits
from .settings import BridgeSettings

ANSWERS = frozenset({Suback, Unsuback})
ANSWER = 30.0
"""Seconds for CONNACK."""


class Owner(Protocol):
    """The bridge that the connection belongs to."""

    def link_up(self, uplink: Uplink) -> None: ...
    def link_down(self, uplink: Uplink, why: str, *, other_version: bool = False) -> None:
        """It is over; ``other_version``: the remote broker may take another version of MQTT."""

    def warned(self, text: str) -> None:
        """The remote broker has refused something; the link goes on."""

    def relay(self, remote: RemoteLimits) -> Relay: ...
    def asking(self, relay: Relay, version: int) -> Asking: ...
    @property
    def hold(self) -> float:
        """Seconds for which messages are held back on a new link."""

    def wanted(self) -> list[SubscribeFilter]:
        """The topic filters to ask for on a new link."""


class Uplink(Endpoint):
    """The bridge's end of the connection."""

    def __init__(
        self,
        owner: Owner,
        engine: Engine,
        settings: BridgeSettings,
        local: LocalSession,
        counters: BridgeCounters,
        version: tuple[int, bool],
        transport: Transport,
        broker_id: str,
    ) -> None:
        self._owner = owner
        self._engine = engine
        self._settings = settings
        self._local = local
        self._counters = counters
        self._transport = transport
        self.version, self.bridge_bit = version
        self._decoder = Decoder(engine.mqtt.max_packet_size)
        self._decoder.version = self.version
        self.relay: Relay | None = None
        """Once CONNACK has come."""
        self._asking: Asking | None = None
        self._channel: Channel | None = None
        self._link: Link | None = None
        """What the channel writes to."""
        self._over = False
        self.closed_there = False
        """Whether the remote broker has ended the connection."""
        self.sends_since: float | None = None
        """When the first message of the session could be sent, by the broker's clock."""
        self._held: list[bytes] | None = None
        """What the session has written while messages are held back. Its window bounds this."""
        self._heard = True
        """Whether anything has come since the last PINGREQ."""
        self._keepalive = settings.keepalive
        self._holding: Timer | None = None
        self._timer = engine.clock.call_at(engine.clock.monotonic() + ANSWER, self._no_answer)
        self._write(
            greeting.connect(
                settings,
                self.version,
                self.bridge_bit,
                broker_id,
                engine.mqtt.receive_maximum,
                engine.mqtt.max_packet_size,
            )
        )

    # ---- what the transport calls

    def received(self, data: bytes) -> None:
        if self._over:
            return
        self._heard = True
        self._counters.bytes_received += len(data)
        self.packets_received += 1
        try:
            self._read(data)
        except greeting.RefusedError as error:
            self.end(str(error), other_version=error.other_version)
        except RemoteEndedError as error:
            self.closed_there = True
            self.end(f"it has disconnected the bridge: {error}")
        except ProtocolError as error:
            # A broker of 3.1.1 answers a CONNECT of 5.0 in its own way.
            text = f"it sends what this broker does not take: {error}"
            self.end(text, other_version=self.relay is None)

    def lost(self) -> None:
        text = (
            "the connection is lost" if self.relay is not None else "it has closed the connection unanswered"
        )
        self.closed_there = True
        # Some brokers close where they do not know the bridge bit.
        self.end(text, other_version=self.relay is None and self.bridge_bit)

    def paused(self) -> None:
        if self._channel is not None:
            self._channel.paused()

    def resumed(self) -> None:
        if self._channel is not None:
            self._channel.resumed()

    # ---- what the bridge calls

    @property
    def is_up(self) -> bool:
        return self._channel is not None and not self._over

    def close(self, *, for_good: bool = False) -> bool:
        """Take leave of the remote broker. ``for_good``: it is to forget the session. Returns whether it
        does."""
        can_say = for_good and self.is_up and self.version == 5
        if not self._over and self.relay is not None:
            properties = Properties(session_expiry_interval=0) if can_say else None
            self._write(encode(Disconnect(properties=properties), self.version))
        self.end("closed by this side")
        return can_say

    def subscribe(self, filters: list[SubscribeFilter]) -> None:
        """Send SUBSCRIBE; what is refused is told to the bridge."""
        assert self._asking is not None
        self._asking.subscribe(filters)
        self._write_all()

    def unsubscribe(self, topic_filter: str) -> None:
        """Send UNSUBSCRIBE."""
        assert self._asking is not None
        self._asking.unsubscribe(topic_filter)
        self._write_all()

    def end(self, why: str, *, other_version: bool = False) -> None:
        """Close both sides, and tell the bridge why."""
        if self._over:
            return
        self._over = True
        self._timer.cancel()
        if self._holding is not None:
            self._holding.cancel()
        self._transport.close()
        channel, self._channel = self._channel, None
        if channel is not None and not channel.closed:
            channel.lost()
        self._owner.link_down(self, why, other_version=other_version)

    # ---- packets

    def _read(self, data: bytes) -> None:
        packets = self._decoder.feed(data)
        if self.relay is None and packets:
            first, packets = packets[0], packets[1:]
            if not isinstance(first, Connack):
                raise ProtocolError(f"{type(first).__name__.upper()} came before CONNACK")
            self._begin(first)
        if self.relay is not None:
            for packet in packets:
                if packet.__class__ in ANSWERS:
                    self._answered(packet)
                else:
                    self.relay.from_remote(packet)
            self._hand_on(len(data))
        if self._decoder.error is not None:
            raise self._decoder.error

    def _begin(self, answer: Connack) -> None:
        """The remote broker has let the bridge in."""
        remote = greeting.accepted(answer, self.version)
        self._timer.cancel()
        self._decoder.runs = True
        keepalive = answer.properties.server_keep_alive if answer.properties is not None else None
        self._keepalive = self._settings.keepalive if keepalive is None else keepalive
        self.relay = self._owner.relay(remote)
        # 3.1 cannot say whether the session is the old one.
        old = answer.session_present or (self.version == 3 and not self._settings.clean_start)
        self._asking = self._owner.asking(self.relay, self.version)
        self._asking.begin(self._owner.wanted(), session_present=old)
        self._write_all()
        if not old:
            self._local.forget_received()
        if self._owner.hold:
            self._held = []
            clock = self._engine.clock
            self._holding = clock.call_at(clock.monotonic() + self._owner.hold, self._let_go)
        else:
            self.sends_since = self._engine.clock.monotonic()
        self._link = Link(self._from_local, self._closed_here, self._transport)
        self._channel = self._local.connect(self._link, 5 if self.version == 5 else 4, self.relay.window)
        if self._keepalive:
            self._ping()
        self._owner.link_up(self)

    def _answered(self, answer: Suback | Unsuback) -> None:
        assert self._asking is not None
        for text in self._asking.answered(answer):
            self._owner.warned(text)

    def _from_local(self, data: bytes) -> None:
        """The broker writes to the bridge's session."""
        if self._over or self.relay is None:
            return
        if self._held is not None:
            self._held.append(data)
            return
        self.relay.local_data(data)
        self._write_all()
        if self.relay.to_local:  # not within the broker's own flush
            self._engine.turns.later(self._hand_on)

    def _let_go(self) -> None:
        """Send what was held back."""
        held, self._held = self._held, None
        self.sends_since = self._engine.clock.monotonic()
        self._from_local(b"".join(held or ()))

    def _hand_on(self, size: int = 0) -> None:
        """``size``: how many bytes from the remote broker have led to it."""
        relay, channel = self.relay, self._channel
        if relay is None:
            return
        if relay.to_local and channel is not None:
            packets, relay.to_local = relay.to_local, []
            channel.take(packets, size)
            self._local.moved()
        self._write_all()

    def _write_all(self) -> None:
        assert self.relay is not None
        assert self._asking is not None
        self.relay.to_remote += self._asking.packets()
        if self.relay.to_remote:
            data = b"".join(self.relay.to_remote)
            self.relay.to_remote.clear()
            self._write(data)

    def _write(self, data: bytes) -> None:
        if not self._over:
            self._counters.bytes_sent += len(data)
            self._transport.write(data)

    def _closed_here(self) -> None:
        """The broker has closed the bridge's session, as it does when it stops."""
        if not self._over:
            if self.relay is not None:
                self._write(encode(Disconnect(), self.version))
            self.end("this broker has closed the bridge's session")

    # ---- time

    def _no_answer(self) -> None:
        self.end(f"it does not answer CONNECT within {ANSWER:.0f} seconds")

    def _ping(self) -> None:
        """A PINGREQ when half of the keep alive has passed [MQTT-3.1.2-23]; something has to come until the
        next."""
        self._heard = False
        self._write(PINGREQ)
        due = self._engine.clock.monotonic() + max(0.5, self._keepalive / 2)
        self._timer = self._engine.clock.call_at(due, self._next_ping)

    def _next_ping(self) -> None:
        if self._heard or (self._link is not None and self._link.paused):
            self._ping()
        else:
            self.end(f"it has sent nothing for {self._keepalive / 2:.0f} seconds, not even PINGRESP")
