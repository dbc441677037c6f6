"""A client that keeps its side of a session while brokers come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import (
    AcknowledgementRun,
    Connack,
    Connect,
    Disconnect,
    Packet,
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
    singly,
)
from pybroker.broker.packets.properties import Properties
from tests.waiting import DEADLINE

FOR_EVER = 0xFFFF_FFFF


class Keeping:
    """MQTT 5.0 or 3.1.1, with a session that never ends."""

    def __init__(self, client_id: str, version: int = 5) -> None:
        self.client_id = client_id
        self.version = version
        self.unanswered: dict[int, Publish | None] = {}
        """What was published, by packet identifier; None once PUBREC has come."""
        self.messages: list[Publish] = []
        """Each QoS 2 message once, the others as often as they came."""
        self.acknowledges = True
        self.present: bool | None = None
        self.granted: list[Packet] = []
        """SUBACKs and UNSUBACKs."""
        self.refused = 0
        self._received: set[int] = set()
        self._next_id = 0
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def connect(self, port: int, clean: bool = False, will: Will | None = None) -> None:
        """And repeat what was not acknowledged [MQTT-4.4.0-1]."""
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self.present = None
        properties = Properties(session_expiry_interval=FOR_EVER) if self.version == 5 else None
        connect = Connect("MQTT", self.version, clean, 0, self.client_id, will=will, properties=properties)
        self._send(connect)
        self._task = asyncio.create_task(self._read(reader))
        await self.until(lambda: self.present is not None)
        if not self.present:
            self._received.clear()
        for packet_id, publish in list(self.unanswered.items()):
            if publish is None:
                self._send(Pubrel(packet_id))
            else:
                self._publish(publish, packet_id, dup=True)

    async def gone(self) -> None:
        """Return when the broker has closed the connection, with all that came before handled."""
        assert self._task is not None
        await asyncio.wait_for(self._task, DEADLINE)
        assert self._writer is not None
        self._writer.close()

    async def drop(self) -> None:
        """Close without DISCONNECT."""
        assert self._writer is not None
        self._writer.close()
        await self.gone()

    async def leave(self) -> None:
        """DISCONNECT."""
        self._send(Disconnect())
        await self.gone()

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> int:
        while True:
            self._next_id = self._next_id % 65535 + 1
            if self._next_id not in self.unanswered:
                break
        publish = make_publish(topic, payload, qos=qos, retain=retain)
        self.unanswered[self._next_id] = publish
        self._publish(publish, self._next_id)
        return self._next_id

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        before = len(self.granted)
        self._send(Subscribe(1, [SubscribeFilter(topic_filter, qos)]))
        await self.until(lambda: len(self.granted) > before)

    async def unsubscribe(self, topic_filter: str) -> None:
        before = len(self.granted)
        self._send(Unsubscribe(1, [topic_filter]))
        await self.until(lambda: len(self.granted) > before)

    async def until(self, condition: Callable[[], object]) -> None:
        """Raises ConnectionError where the connection ends first."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                if self._task is not None and self._task.done():
                    raise ConnectionError
                self._changed.clear()
                await self._changed.wait()

    def on(self, start: str) -> list[Publish]:
        """Messages to topics that begin so."""
        return [message for message in self.messages if message.topic.startswith(start)]

    @property
    def numbers(self) -> list[int]:
        return [int(message.payload) for message in self.messages]

    def _publish(self, publish: Publish, packet_id: int, dup: bool = False) -> None:
        again = make_publish(
            publish.topic,
            publish.payload,
            qos=publish.qos,
            retain=publish.retain,
            packet_id=packet_id,
            dup=dup,
            version=self.version,
        )
        assert self._writer is not None
        self._writer.write(again.wire)

    def _send(self, packet: Packet) -> None:
        assert self._writer is not None
        self._writer.write(encode(packet, self.version))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = Decoder(1 << 28)
        decoder.version = self.version
        try:
            while data := await reader.read(1 << 16):
                for packet in singly(decoder.feed(data)):
                    assert not isinstance(packet, AcknowledgementRun)
                    self._handle(packet)
                assert decoder.error is None, decoder.error
                self._changed.set()
        except ConnectionError:
            pass
        finally:
            self._changed.set()

    def _handle(self, packet: Packet) -> None:
        match packet:
            case Connack():
                self.present = packet.session_present
            case Publish():
                if packet.qos < 2 or packet.packet_id not in self._received:
                    self.messages.append(packet)
                if packet.qos == 2:
                    self._received.add(packet.packet_id)
                if packet.qos and self.acknowledges:
                    self._send((Puback if packet.qos == 1 else Pubrec)(packet.packet_id))
            case Pubrel():
                self._received.discard(packet.packet_id)
                self._send(Pubcomp(packet.packet_id))
            case Puback() | Pubcomp():
                del self.unanswered[packet.packet_id]
                self.refused += packet.reason >= 0x80
            case Pubrec():
                if packet.reason >= 0x80:
                    self.refused += 1
                    del self.unanswered[packet.packet_id]
                else:
                    self.unanswered[packet.packet_id] = None
                    self._send(Pubrel(packet.packet_id))
            case Suback() | Unsuback():
                self.granted.append(packet)
