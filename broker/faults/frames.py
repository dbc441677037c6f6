"""Cuts one direction of a connection into packets, and finds the topic of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..packets.decoder import Decoder
from ..packets.model import Packet, Publish, Subscribe, Unsubscribe, singly

MAX_LENGTH_BYTES = 4
LARGEST = 1 << 28


class Frames:
    """Turns the bytes that it is fed into whole packets, each as bytes and decoded.

    Bytes that are not a packet, or belong to one that is too large, are returned unchanged with None, and so
    are all bytes after them; the broker decides about them.
    """

    __slots__ = ("_aliases", "_broken", "_decoder", "_needed", "_rest", "max_packet_size")

    def __init__(self, max_packet_size: int = LARGEST) -> None:
        self.max_packet_size = max_packet_size
        self._decoder = Decoder(LARGEST)
        self._rest = bytearray()
        """The beginning of a packet that is not complete yet."""
        self._needed = 0
        self._broken = False
        self._aliases: dict[int, str] = {}

    def speak(self, version: int) -> None:
        """Decode the following packets by this protocol level. In the direction of CONNECT it is detected."""
        self._decoder.version = version

    def feed(self, data: bytes) -> Iterator[tuple[bytes, Packet | None]]:
        """The packets that ``data`` completes."""
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
    """The bytes of the packet at ``pos``; 0 if its length has not come yet, None if it is invalid."""
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
    """The last ``count`` packets of ``data``, which has only whole packets, and the number of packets before
    them. Those before cost little."""
    starts = []
    pos = 0
    while pos < len(data):
        starts.append(pos)
        pos += _size(data, pos) or len(data)
    before = max(0, len(starts) - count)
    return (data[starts[before] :], before) if before else (data, 0)


def topics_of(packet: Packet | None, kept: dict[int, str]) -> tuple[str, ...]:
    """The topics that ``packet`` is about. ``kept`` has the topics of the messages that are being
    acknowledged."""
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
