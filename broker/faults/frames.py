"""Cuts one direction of a connection into packets, and finds the topic of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..packets.decoder import Decoder
from ..packets.model import Packet, Publish, Subscribe, Unsubscribe, singly

MAX_LENGTH_BYTES = 4
LARGEST = 1 << 28


class Frames:
    """Feed it bytes; it gives whole packets, each as bytes and decoded.

    Bytes that make no packet, or too large a one, are given as they are, with None, and so is all after them:
    what becomes of them is the broker's business.
    """

    __slots__ = ("_aliases", "_broken", "_decoder", "_needed", "_rest", "max_packet_size")

    def __init__(self, max_packet_size: int = LARGEST) -> None:
        self.max_packet_size = max_packet_size
        self._decoder = Decoder(LARGEST)
        self._rest = bytearray()
        """The start of a packet whose end has not come."""
        self._needed = 0
        self._broken = False
        self._aliases: dict[int, str] = {}

    def speak(self, version: int) -> None:
        """Read what follows by this protocol level; one that reads CONNECT finds out by itself."""
        self._decoder.version = version

    def feed(self, data: bytes) -> Iterator[tuple[bytes, Packet | None]]:
        """What ``data`` completes."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        pos = 0
        while pos < len(data):
            size = None if self._broken else _size(data, pos)
            if size is None or size > self.max_packet_size:
                self._broken = True
                yield data[pos:], None
                return
            if not size or pos + size > len(data):
                self._rest += data[pos:]
                self._needed = size
                return
            frame = data[pos : pos + size]
            pos += size
            yield frame, self._decoded(frame)

    def _decoded(self, frame: bytes) -> Packet | None:
        packet = next(singly(self._decoder.feed(frame)), None)
        if packet is None:
            self._broken = True
        if isinstance(packet, Publish):
            self._resolve_alias(packet)
        return packet

    def _resolve_alias(self, publish: Publish) -> None:
        alias = publish.properties.topic_alias if publish.properties else None
        if alias is None:
            return
        if publish.topic:
            self._aliases[alias] = publish.topic
        else:
            publish.topic = self._aliases.get(alias, "")


def _size(data: bytes, pos: int) -> int | None:
    """Bytes of the packet at ``pos``; 0 where its length has not come yet, None where it makes no sense."""
    length = 0
    for index in range(MAX_LENGTH_BYTES):
        at = pos + 1 + index
        if at >= len(data):
            return 0
        length |= (data[at] & 0x7F) << 7 * index
        if data[at] < 0x80:
            return at + 1 - pos + length
    return None


def last_packets(data: bytes, count: int) -> tuple[bytes, int]:
    """Of ``data``, which is whole packets, the last ``count``; and how many stand before them. Costs little
    for those."""
    starts = []
    pos = 0
    while pos < len(data):
        starts.append(pos)
        pos += _size(data, pos) or len(data)
    before = max(0, len(starts) - count)
    return (data[starts[before] :], before) if before else (data, 0)


def topics_of(packet: Packet | None, kept: dict[int, str]) -> tuple[str, ...]:
    """What ``packet`` is about; ``kept`` remembers the topics of the messages that are being acknowledged."""
    match packet:
        case Publish():
            if packet.qos:
                kept[packet.packet_id] = packet.topic
            return (packet.topic,)
        case Subscribe():
            return tuple(wanted.topic_filter for wanted in packet.filters)
        case Unsubscribe():
            return tuple(packet.topic_filters)
    about: Any = kept.get(getattr(packet, "packet_id", 0))
    return (about,) if about is not None else ()
