"""amqtt's packet events: `on_mqtt_packet_received` and `on_mqtt_packet_sent`.

amqtt's packets are those of MQTT 3.1.1. The packets of a 5.0 client are reported as such, without reason
codes and properties. AUTH, which 3.1.1 does not have, is not reported.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from amqtt.adapters import BufferReader
from amqtt.events import MQTTEvents
from amqtt.mqtt import packet_class
from amqtt.mqtt.packet import MQTTFixedHeader

from ..engine.channel import Channel
from ..engine.engine import Engine
from ..packets.decoder import Decoder
from ..packets.encoder import encode
from ..packets.model import Auth, Connect, Packet, singly
from ..packets.primitives import LARGEST_PACKET
from .amqtt_events import PluginEvents
from .amqtt_views import SessionViews
from .step import step

log = logging.getLogger("pybroker.plugins")


class PacketTap:
    """Hands every packet to the plugins that want to see them; only made where there is such a plugin."""

    def __init__(self, engine: Engine, events: PluginEvents, views: SessionViews) -> None:
        self._engine = engine
        self._events = events
        self._views = views

    def sees(self, channel: Channel) -> bool:
        return True

    def received(self, channel: Channel, packets: Sequence[Packet]) -> None:
        self._tell(MQTTEvents.PACKET_RECEIVED, channel, packets)

    def sent(self, channel: Channel, data: bytes) -> None:
        decoder = Decoder(LARGEST_PACKET, self._engine.topics)
        decoder.version = channel.connection.version or 4
        self._tell(MQTTEvents.PACKET_SENT, channel, [*singly(decoder.feed(data))])

    def _tell(self, event: str, channel: Channel, packets: Sequence[Packet]) -> None:
        if not self._events.wanted(event):
            return
        session = self._views.of_client(channel.client) if channel.client is not None else None
        for packet in packets:
            if isinstance(packet, Auth):
                continue
            try:
                translated = amqtt_packet(packet)
            except Exception:  # a packet that amqtt cannot read must not harm the client
                log.exception("a packet cannot be shown to plugins: %s", type(packet).__name__)
            else:
                self._events.fire(event, packet=translated, session=session)


def amqtt_packet(packet: Packet) -> Any:
    """The same packet as amqtt's own class."""
    if isinstance(packet, Connect) and packet.version == 5:
        packet = replace(packet, version=4)
    reader = BufferReader(encode(packet, 4))
    # Its readers are coroutines, but a buffer never lets them wait.
    header: Any = step(MQTTFixedHeader.from_stream(reader))
    return step(packet_class(header).from_stream(reader, fixed_header=header))
