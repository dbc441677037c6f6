"""A broker without sockets, for tests that read like the specification.

>>> broker = Broker()
>>> subscriber, publisher = broker.connect("s"), broker.connect("p", version=4)
>>> subscriber.subscribe("a/+", qos=1)
>>> publisher.publish("a/b", b"hi", qos=1)
>>> subscriber.message().payload
b'hi'

Everything passes the real decoder, protocol, engine and encoder; time is turned by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any, TypeVar

from pybroker.broker.clock import ManualClock
from pybroker.broker.config.settings import Limits, MqttSettings
from pybroker.broker.engine import handlers
from pybroker.broker.engine.channel import Channel
from pybroker.broker.engine.engine import Engine
from pybroker.broker.hooks import Hooks
from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
    Will,
)
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode

P = TypeVar("P")
LARGEST = 268_435_460
FOR_EVER = 0xFFFFFFFF


class FakeLink:
    """A connection's wire: what the broker writes is kept, until somebody reads it."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False
        self.aborted = False
        self.reading = True
        self.stuck = False
        """Whether the network takes nothing: what is written counts as unsent."""
        self.channel: Channel | None = None

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def unsent_bytes(self) -> int:
        return len(self.written) if self.stuck else 0


class Broker:
    """The engine with a clock that is turned by hand. Keyword arguments are those of ``mqtt {}``."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        hooks: Hooks | None = None,
        clock: ManualClock | None = None,
        **mqtt: Any,
    ) -> None:
        self.clock = clock or ManualClock()
        self.open_channel: Callable[..., Channel] = Channel
        self.waiting: list[tuple[Awaitable[Any], Callable[[Any], None]]] = []
        self.engine = Engine(self.clock, self._spawn, MqttSettings(**mqtt), limits, hooks=hooks)
        self.engine.turns.now = lambda: 0.0  # no turn is over, however busy the machine is
        self.engine.start()

    def dial(self, version: int = 5) -> Client:
        """A network connection on which nothing was said yet."""
        return Client(self, version)

    def connect(self, client_id: str = "c", version: int = 5, **options: Any) -> Client:
        """A client that was accepted; the options are those of :meth:`Client.connect`."""
        client = self.dial(version)
        connack = client.connect(client_id, **options)
        assert connack.reason == ReasonCode.SUCCESS, connack
        return client

    def answer(self) -> None:
        """Let everything the broker waits for come to its end."""

        async def result(answer: Awaitable[Any]) -> Any:
            return await answer

        while self.waiting:
            awaitable, then = self.waiting.pop(0)
            then(asyncio.run(result(awaitable)))

    def dropped(self, reason: str) -> int:
        """How many messages were dropped for ``reason``."""
        return self.engine.counters.dropped[reason]

    def retained(self) -> dict[str, bytes]:
        return {topic: self.engine.retained.get(topic).payload for topic in self.engine.retained}  # type: ignore[union-attr]

    def _spawn(self, answer: Awaitable[Any], then: Callable[[Any], None]) -> None:
        self.waiting.append((answer, then))


class Client:
    """A client whose every packet is sent and read by hand."""

    def __init__(self, broker: Broker, version: int) -> None:
        self.broker = broker
        self.version = version
        self.client_id = ""
        self.connack: Connack | None = None
        self.link = FakeLink()
        self.channel = broker.open_channel(
            broker.engine, handlers, self.link, listener="tcp", peer="192.0.2.1:50000"
        )
        self.link.channel = self.channel
        self._decoder = Decoder(LARGEST)
        self._decoder.version = version
        self._inbox: list[Packet] = []
        self._last_id = 0

    # Out

    def send(self, *packets: Packet) -> None:
        """Send the packets, all in one read of the broker's."""
        self.send_bytes(b"".join(encode(packet, self.version) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        self.channel.received(data)

    def connect(self, client_id: str = "c", **options: Any) -> Connack:
        """Send CONNECT and return the CONNACK; see :func:`connect_packet` for the options."""
        self.send_connect(client_id, **options)
        self.connack = self.next(Connack)
        return self.connack

    def send_connect(self, client_id: str = "c", **options: Any) -> None:
        """Send CONNECT and wait for nothing."""
        self.send(connect_packet(client_id, self.version, **options))
        self.client_id = client_id

    def subscribe(self, topic_filter: str, qos: int = 0, **options: Any) -> ReasonCode:
        """Subscribe to one filter and return its reason code. Options are those of SubscribeFilter and
        ``identifier``."""
        identifier = options.pop("identifier", None)
        properties = Properties(subscription_identifiers=(identifier,)) if identifier else None
        packet_id = self.new_id()
        self.send(Subscribe(packet_id, [SubscribeFilter(topic_filter, qos, **options)], properties))
        suback = self.next_of(Suback)
        assert suback.packet_id == packet_id
        return suback.reasons[0]

    def unsubscribe(self, *topic_filters: str) -> Unsuback:
        packet_id = self.new_id()
        self.send(Unsubscribe(packet_id, list(topic_filters)))
        unsuback = self.next_of(Unsuback)
        assert unsuback.packet_id == packet_id
        return unsuback

    def send_publish(
        self,
        topic: str,
        payload: bytes = b"x",
        qos: int = 0,
        *,
        retain: bool = False,
        dup: bool = False,
        packet_id: int = 0,
        **properties: Any,
    ) -> int:
        """Send PUBLISH and wait for nothing; returns its packet identifier."""
        packet_id = packet_id or (self.new_id() if qos else 0)
        self.send(
            make_publish(
                topic,
                payload,
                qos=qos,
                retain=retain,
                dup=dup,
                packet_id=packet_id,
                properties=Properties(**properties) if properties else None,
                version=self.version,
            )
        )
        return packet_id

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 0, **options: Any) -> ReasonCode:
        """Publish to the end of its QoS; returns the reason code of PUBACK or PUBREC."""
        packet_id = self.send_publish(topic, payload, qos, **options)
        if qos == 0:
            return ReasonCode.SUCCESS
        first: Puback | Pubrec = self.next_of(Puback if qos == 1 else Pubrec)
        assert first.packet_id == packet_id
        if qos == 2 and first.reason < 0x80:
            self.send(Pubrel(packet_id))
            assert self.next_of(Pubcomp) == Pubcomp(packet_id)
        return first.reason

    def acknowledge(self, *messages: Publish) -> None:
        """Do what the QoS of each message asks of its receiver, to the end."""
        for message in messages:
            if message.qos == 1:
                self.send(Puback(message.packet_id))
            elif message.qos == 2:
                self.send(Pubrec(message.packet_id))
                self.next_of(Pubrel)
                self.send(Pubcomp(message.packet_id))

    def ping(self) -> None:
        self.send(Pingreq())
        self.next_of(Pingresp)

    def disconnect(self, reason: ReasonCode = ReasonCode.NORMAL_DISCONNECTION, **properties: Any) -> None:
        """Send DISCONNECT; the broker closes."""
        self.send(Disconnect(reason, Properties(**properties) if properties else None))
        assert self.link.closed

    def drop(self) -> None:
        """Lose the network connection."""
        self.link.closed = True
        self.channel.lost()

    def again(self, **options: Any) -> Client:
        """The same client on a new connection, by default without clean start."""
        options.setdefault("clean_start", False)
        options.setdefault("version", self.version)
        return self.broker.connect(self.client_id, **options)

    # In

    def packets(self) -> list[Packet]:
        """All packets that came and were not asked for yet."""
        self._read()
        inbox, self._inbox = self._inbox, []
        return inbox

    def next(self, kind: type[P]) -> P:
        """The next packet, which is of this kind."""
        self._read()
        assert self._inbox, f"there is no {kind.__name__}; closed: {self.link.closed}"
        packet = self._inbox.pop(0)
        assert isinstance(packet, kind), f"{packet} is no {kind.__name__}"
        return packet

    def next_of(self, kind: type[P]) -> P:
        """The next packet of this kind; those before it stay."""
        self._read()
        for position, packet in enumerate(self._inbox):
            if isinstance(packet, kind):
                del self._inbox[position]
                return packet
        raise AssertionError(f"there is no {kind.__name__} in {self._inbox}")

    def message(self, acknowledge: bool = True) -> Publish:
        """The next packet, which is a PUBLISH; acknowledged as its QoS asks, unless told otherwise."""
        message = self.next(Publish)
        if acknowledge:
            self.acknowledge(message)
        return message

    def messages(self) -> list[Publish]:
        """All messages, each acknowledged; nothing else came."""
        found = []
        while self.pending():
            found.append(self.message())
        return found

    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages()]

    def pending(self) -> int:
        """How many packets wait to be asked for."""
        self._read()
        return len(self._inbox)

    def nothing(self) -> None:
        """Nothing came, and the connection stands."""
        self._read()
        assert self._inbox == []
        assert not self.link.closed

    def closed(self, reason: ReasonCode | None = None) -> Disconnect | None:
        """The broker closed: in 5.0 after a DISCONNECT with ``reason``, in 3.x without a word."""
        packets = self.packets()
        assert self.link.closed
        if self.version != 5 or reason is None:
            assert packets == []
            return None
        [disconnect] = packets
        assert isinstance(disconnect, Disconnect)
        assert disconnect.reason == reason, disconnect
        return disconnect

    @property
    def is_closed(self) -> bool:
        return self.link.closed

    def new_id(self) -> int:
        self._last_id = self._last_id % 65_535 + 1
        return self._last_id

    def stop_reading(self) -> None:
        """Let the network jam: what the broker writes stays unsent."""
        self.link.stuck = True
        self.channel.paused()

    def read_on(self) -> None:
        self.link.stuck = False
        self._read()
        self.channel.resumed()

    def _read(self) -> None:
        if self.link.stuck:
            return
        data = bytes(self.link.written)
        self.link.written.clear()
        self._inbox += self._decoder.feed(data)
        assert self._decoder.error is None, self._decoder.error


_CONNECT_PROPERTIES = {field.name for field in fields(Properties)}


def connect_packet(
    client_id: str = "c",
    version: int = 5,
    *,
    clean_start: bool = True,
    keepalive: int = 0,
    username: str | None = None,
    password: bytes | None = None,
    will: Will | None = None,
    **properties: Any,
) -> Connect:
    """A CONNECT; further keyword arguments are its properties, and need 5.0."""
    unknown = set(properties) - _CONNECT_PROPERTIES
    assert not unknown, unknown
    assert version == 5 or not properties, "only 5.0 has properties"
    return Connect(
        "MQIsdp" if version == 3 else "MQTT",
        version,
        clean_start,
        keepalive,
        client_id,
        username,
        password,
        will,
        Properties(**properties) if properties else None,
    )
