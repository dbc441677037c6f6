"""A client that keeps its promises, on a network that keeps none.

It speaks QoS 1 and 2 as the specification tells clients to, over connections that may be cut between any
two bytes, in either direction, and remembers what it has published and what it was handed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from pybroker.broker.engine import handlers
from pybroker.broker.engine.channel import Channel
from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import (
    Connack,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscribeFilter,
)
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import FOR_EVER, LARGEST, Broker, FakeLink, connect_packet

UNLIMITED = 65_535
IDENTIFIERS = 20


@dataclass
class Own:
    """A message of the client's own, until it is acknowledged to the end."""

    payload: bytes
    qos: int
    packet_id: int = 0
    sent: bool = False
    """Ever, on any connection."""
    released: bool = False
    """QoS 2: PUBREC has come; only PUBREL is sent from now on."""
    on_wire: bool = False
    """What is due was sent on this connection."""


class Witness(FakeLink):
    """A link that watches whether the broker keeps to the client's receive maximum."""

    def __init__(self, version: int, receive_maximum: int) -> None:
        super().__init__()
        self.unacknowledged: set[int] = set()
        """What was written on this connection, less what the broker has got the acknowledgement of."""
        self._limit = receive_maximum
        self._decoder = Decoder(LARGEST)
        self._decoder.version = version

    def write(self, data: bytes) -> None:
        super().write(data)
        for packet in self._decoder.feed(data):
            if isinstance(packet, Publish) and packet.qos:
                self.unacknowledged.add(packet.packet_id)
                assert len(self.unacknowledged) <= self._limit, "the receive maximum is exceeded"


@dataclass
class Peer:
    broker: Broker
    client_id: str
    version: int
    receive_maximum: int = UNLIMITED
    published: list[tuple[int, bytes]] = field(default_factory=list)
    handed: list[tuple[int, bytes]] = field(default_factory=list)
    """(QoS, payload) of each message the application got."""
    connected: bool = False

    def __post_init__(self) -> None:
        self.own: list[Own] = []
        self._received: set[int] = set()
        self._subscribed = False
        self._last_id = 0
        self._quota = 0
        self._broker_takes = UNLIMITED
        self._ready = False

    # What the application does

    def connect(self, eager: bool) -> None:
        """Open a connection, beside the old one if that still stands; ``eager``: do not wait for CONNACK."""
        self.link = Witness(self.version, self.receive_maximum if self.version == 5 else UNLIMITED)
        self._acknowledged = deque[tuple[int, int]]()
        self._said = self._delivered = 0
        self._channel = Channel(self.broker.engine, handlers, self.link)
        self._decoder = Decoder(LARGEST)
        self._decoder.version = self.version
        self.outgoing = bytearray()
        self.connected = True
        self._ready = eager and self._subscribed
        for own in self.own:
            own.on_wire = False
        options = {}
        if self.version == 5:
            options = {"session_expiry_interval": FOR_EVER, "receive_maximum": self.receive_maximum}
        self._send(connect_packet(self.client_id, self.version, clean_start=False, **options))
        self._quota = self._broker_takes
        self._pump()

    def publish(self, payload: bytes, qos: int) -> None:
        self.published.append((qos, payload))
        self.own.append(Own(payload, qos))
        self._pump()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to say or to hear."""
        return not (self.own or self.outgoing or self.link.written)

    # What the network does

    def deliver(self, size: int) -> None:
        """Let the broker have the next ``size`` bytes."""
        data = bytes(self.outgoing[:size])
        del self.outgoing[:size]
        self._delivered += len(data)
        while self._acknowledged and self._acknowledged[0][0] <= self._delivered:
            self.link.unacknowledged.discard(self._acknowledged.popleft()[1])
        if data and not self.link.closed:
            self._channel.received(data)

    def read(self, size: int) -> None:
        """Let the client have the next ``size`` bytes."""
        data = bytes(self.link.written[:size])
        del self.link.written[:size]
        for packet in self._decoder.feed(data):
            self._handle(packet)
        assert self._decoder.error is None, self._decoder.error

    def cut(self) -> int:
        """Lose the connection with all that was on its way; how many bytes that were."""
        lost = len(self.outgoing) + len(self.link.written)
        self.outgoing.clear()
        self.link.closed = True
        self.link.written.clear()
        self._channel.lost()
        self.connected = False
        return lost

    # The protocol

    def _handle(self, packet: Packet) -> None:
        match packet:
            case Connack():
                assert packet.reason == ReasonCode.SUCCESS, packet
                if self.version != 3:
                    assert packet.session_present is self._subscribed, "the session was lost"
                if packet.properties and packet.properties.receive_maximum:
                    self._broker_takes = self._quota = packet.properties.receive_maximum
                    self._quota -= sum(own.on_wire and not own.released for own in self.own)
                self._ready = True
                if not self._subscribed:
                    self._send(Subscribe(65_535, [SubscribeFilter("t", 2)]))
            case Suback():
                self._subscribed = True
            case Publish(qos=1):
                self._got(packet)
                self._send(Puback(packet.packet_id))
            case Publish(qos=2):
                if packet.packet_id not in self._received:
                    self._received.add(packet.packet_id)
                    self._got(packet)
                else:
                    assert packet.dup, "a repeat without DUP"
                self._send(Pubrec(packet.packet_id))
            case Pubrel():
                self._received.discard(packet.packet_id)
                self._send(Pubcomp(packet.packet_id))
            case Puback():
                self._done(packet.packet_id, 1)
            case Pubrec():
                own = self._find(packet.packet_id, 2)
                if own is not None:
                    own.released = own.on_wire = True
                self._send(Pubrel(packet.packet_id))
            case Pubcomp():
                self._done(packet.packet_id, 2)
            case _:
                raise AssertionError(packet)
        self._pump()

    def _got(self, packet: Publish) -> None:
        self.handed.append((packet.qos, packet.payload))

    def _find(self, packet_id: int, qos: int) -> Own | None:
        return next((own for own in self.own if own.packet_id == packet_id and own.qos == qos), None)

    def _done(self, packet_id: int, qos: int) -> None:
        own = self._find(packet_id, qos)
        if own is not None:
            self.own.remove(own)
            self._quota = min(self._quota + 1, self._broker_takes)

    def _pump(self) -> None:
        """Send what is due, in order, as far as the broker takes it."""
        if not (self.connected and self._ready and self._subscribed):
            return
        for own in self.own:
            if own.on_wire:
                continue
            if own.released:
                self._send(Pubrel(own.packet_id))
            elif self._quota > 0:
                self._quota -= 1
                own.packet_id = own.packet_id or self._free_id()
                packet = make_publish(
                    "t",
                    own.payload,
                    qos=own.qos,
                    packet_id=own.packet_id,
                    dup=own.sent,
                    version=self.version,
                )
                self._send(packet)
                own.sent = True
            else:
                return
            own.on_wire = True

    def _free_id(self) -> int:
        """Of a few, so that they are soon used again."""
        taken = {own.packet_id for own in self.own}
        assert len(taken) < IDENTIFIERS
        while True:
            self._last_id = self._last_id % IDENTIFIERS + 1
            if self._last_id not in taken:
                return self._last_id

    def _send(self, packet: Packet) -> None:
        data = encode(packet, self.version)
        self.outgoing += data
        self._said += len(data)
        if isinstance(packet, Puback | Pubcomp):
            self._acknowledged.append((self._said, packet.packet_id))
