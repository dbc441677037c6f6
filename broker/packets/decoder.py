"""Decodes the bytes of a connection into packets."""

from __future__ import annotations

from array import array
from sys import byteorder

from .bodies import check_flags, read_body, read_connect, read_protocol
from .errors import MalformedPacket, ProtocolError
from .model import AcknowledgementRun, Packet, Puback, Pubcomp, Publish, PublishRun, Pubrec, Pubrel, Run
from .packet_type import PacketType
from .properties import decode_properties
from .reasons import ReasonCode
from .topic_cache import TopicCache

# (qos, retain, dup) for each first byte that PUBLISH may have; None for all others.
# QoS 3 is not one of them [MQTT-3.3.1-4], nor is DUP at QoS 0 [MQTT-3.3.1-2].
_PUBLISH_FLAGS = tuple(
    (first >> 1 & 3, bool(first & 1), bool(first & 8))
    if first >> 4 == PacketType.PUBLISH and first & 6 != 6 and first & 14 != 8
    else None
    for first in range(256)
)

# The QoS of a PUBLISH that may be part of a run, by its first byte.
_RUN_QOS = {0x30: 0, 0x32: 1, 0x34: 2}

MOST_COLUMNS = 64
"""The largest number of bytes before the packet identifier for which packets are compared by columns."""
FEWEST_ROWS = 8
"""The number of packets from which on this is faster than to compare them one by one."""
MOST_ROWS = 64
"""The largest number of packets that are compared at a time: what follows may be others."""
SMALL_PIECE = 4096
"""A piece of a packet with fewer bytes is appended to those before it, which costs a copy."""

_ACKNOWLEDGEMENTS: dict[int, type[Puback | Pubrec | Pubrel | Pubcomp]] = {
    0x40: Puback,
    0x50: Pubrec,
    0x62: Pubrel,
    0x70: Pubcomp,
}


class Decoder:
    """Makes packets from the bytes of one connection, in pieces of any size.

    It checks the form of each packet. Its user checks the order: that CONNECT is the first packet, and which
    side may send which packet. It reads the packets of both directions.
    """

    __slots__ = (
        "_begun",
        "_begun_size",
        "_max_first",
        "_needed",
        "_topics",
        "error",
        "max_packet_size",
        "runs",
        "special",
        "version",
    )

    def __init__(
        self, max_packet_size: int, topics: TopicCache | None = None, *, max_first: int | None = None
    ) -> None:
        """``max_first`` is the largest packet that is accepted before CONNECT is known, if that is less."""
        self.max_packet_size = max_packet_size
        """In bytes, the fixed header included."""
        self._max_first = min(max_first or max_packet_size, max_packet_size)
        self.version = 0
        """The protocol level. It is 0 before CONNECT, then the level that CONNECT names, even if the rest of
        CONNECT is wrong. The user sets it to read the packets of a server."""
        self.error: ProtocolError | None = None
        """The error that ended the stream of packets; nothing is read after it."""
        self.special = False
        """Whether some of the last packets have to be checked against the rules of the connection.
        Acknowledgements need no check, nor does PUBLISH, except for 5.0's with a QoS above 0 or with
        properties."""
        self.runs = False
        """Whether alike packets may be returned together as a run. If it is off, only single packets are
        returned."""
        self._topics = topics or TopicCache()
        self._begun: list[bytes | bytearray] = []
        """The start of a packet whose end has not arrived, in pieces. The pieces of a large packet are joined
        once, when it is complete."""
        self._begun_size = 0
        self._needed = 0
        """The number of bytes that the start must have before it is worth looking at again."""

    def feed(self, data: bytes) -> list[Packet | Run]:
        """The packets that ``data`` completes, in order. If one is wrong, those before it are returned, and
        ``error`` is set."""
        packets: list[Packet | Run] = []
        self.special = False
        if self.error is not None:
            return packets
        try:
            start = self._finish(data, packets) if self._begun else 0
            if start < len(data):
                done = self._decode(data, start, packets)
                if done < len(data):
                    self._keep(data[done:])
        except ProtocolError as error:
            self.error = error
        return packets

    def _finish(self, data: bytes, packets: list[Packet | Run]) -> int:
        """Complete the packet that was begun, and no other: the rest of ``data`` may be large, and is not
        copied. Returns the number of bytes of ``data`` that were used."""
        taken = 0
        while self._begun:
            missing = self._needed - self._begun_size
            part = data[taken : taken + missing]
            taken += len(part)
            if len(part) < missing:
                self._keep(part)
                break
            start = b"".join([*self._begun, part])
            self._begun, self._begun_size = [], 0
            if not self._decode(start, 0, packets):
                self._keep(start)
        return taken

    def _keep(self, part: bytes) -> None:
        """Add to the packet that was begun. Small pieces are joined at once, because each would take more
        memory than its bytes."""
        self._begun_size += len(part)
        last = self._begun[-1] if self._begun else None
        if len(part) >= SMALL_PIECE:
            self._begun.append(part)
        elif isinstance(last, bytearray):
            last += part
        else:
            self._begun.append(bytearray(part))

    def _decode(self, data: bytes, pos: int, packets: list[Packet | Run]) -> int:
        """Append each whole packet in ``data`` from ``pos`` on to ``packets``. Returns the position of the
        unfinished packet.

        All traffic of a broker passes this loop. So PUBLISH and the acknowledgements are read here, without a
        call for each.
        """
        append = packets.append
        known_topic = self._topics.names.get
        version = self.version
        max_packet_size = self.max_packet_size if version else self._max_first
        runs = self.runs
        end = len(data)
        while end - pos >= 2:
            first = data[pos]
            length = data[pos + 1]
            body = pos + 2
            if length >= 0x80:
                length &= 0x7F
                for shift in (7, 14, 21):
                    if body >= end:
                        self._needed = end - pos + 1
                        return pos
                    byte = data[body]
                    body += 1
                    length |= (byte & 0x7F) << shift
                    if byte < 0x80:
                        break
                else:
                    raise MalformedPacket("the remaining length is longer than four bytes")
                if not byte and version == 5:  # [MQTT-1.5.5-1]
                    raise MalformedPacket("the remaining length takes more bytes than it needs")
            stop = body + length
            if stop - pos > max_packet_size:
                raise ProtocolError(
                    f"a packet of {stop - pos:,} bytes is larger than the {max_packet_size:,} allowed",
                    ReasonCode.PACKET_TOO_LARGE,
                )
            if stop > end:
                self._needed = stop - pos
                return pos

            flags = _PUBLISH_FLAGS[first]
            if flags is not None:
                if length < 2:
                    raise MalformedPacket("PUBLISH ends before its topic name")
                at = body + 2 + (data[body] << 8 | data[body + 1])
                if at > stop:
                    raise MalformedPacket("the topic name does not fit into the packet")
                topic = known_topic(raw := data[body + 2 : at])
                if topic is None:
                    # Only an alias may stand for a topic [MQTT-4.7.3-1].
                    topic = self._topics.add(raw) if raw or version != 5 else ""
                name_end = at
                qos, retain, dup = flags
                packet_id = 0
                if qos:
                    if at + 2 > stop:
                        raise MalformedPacket("PUBLISH ends before its packet identifier")
                    packet_id = data[at] << 8 | data[at + 1]
                    if not packet_id:  # [MQTT-2.2.1-3]
                        raise ProtocolError("the packet identifier is 0")
                    at += 2
                properties = None
                if version == 5:
                    if at < stop and not data[at]:
                        at += 1
                    else:
                        properties, at = decode_properties(data, at, stop, PacketType.PUBLISH)
                    if not topic and (properties is None or properties.topic_alias is None):
                        raise ProtocolError("PUBLISH has neither a topic name nor a topic alias")
                    if qos or properties is not None:
                        self.special = True
                if (
                    runs
                    and stop < end
                    and data[stop] == first
                    and properties is None
                    # Topics that differ do so mostly at their end.
                    and (after := stop + name_end - pos) <= end
                    and data[after - 1] == data[name_end - 1]
                ):
                    run = self._run(data, pos, at, stop, topic, packet_id)
                    if run is not None:
                        append(run)
                        pos += len(run.wire)
                        continue
                append(
                    Publish(topic, qos, retain, dup, packet_id, properties, version, data[pos:stop], at - pos)
                )
            elif length == 2 and (acknowledgement := _ACKNOWLEDGEMENTS.get(first)):
                packet_id = data[body] << 8 | data[body + 1]
                if not packet_id:  # [MQTT-2.2.1-3]
                    raise ProtocolError("the packet identifier is 0")
                if runs and stop < end and data[stop] == first:
                    packet_ids = _alike_acknowledgements(data, pos)
                    append(AcknowledgementRun(acknowledgement, packet_ids))
                    stop = pos + 4 * len(packet_ids)
                else:
                    append(acknowledgement(packet_id))
            else:
                self.special = True
                append(self._decode_other(first, data, body, stop))
                version, max_packet_size = self.version, self.max_packet_size
            pos = stop
        self._needed = 2
        return pos

    def _run(
        self, data: bytes, start: int, payload: int, stop: int, topic: str, packet_id: int
    ) -> PublishRun | None:
        """The PUBLISH from ``start`` to ``stop``, together with the alike ones after it; None if there are
        none. Their lengths may differ only if each length takes one byte."""
        first = data[start]
        qos = _RUN_QOS.get(first)
        same_size = stop - start if data[start + 1] >= 0x80 else 0
        if qos is None or not (same_size or self.max_packet_size >= 0x82):
            return None
        five = self.version == 5
        head = payload - start
        size = stop - start
        id_at = head - (2 if qos else 0) - five
        common_at = 0 if same_size else 2
        common = data[start + common_at : start + id_at]
        end = len(data)
        ends = [size]
        packet_ids = [packet_id]
        later = start + (FEWEST_ROWS - 1) * size
        if (
            id_at <= MOST_COLUMNS
            and later + size <= end
            and data[stop + 1] == data[start + 1]
            and data.startswith(common, stop + common_at)
            and data.startswith(common, later + common_at)  # else there are hardly as many
        ):
            count = _same_layout(data, start, size, id_at, head - 1 if five else -1)
            if qos and count > 1:
                packet_ids = _packet_ids(data, start + id_at, size, count)
                count = len(packet_ids)
            else:
                packet_ids *= count
            stop = start + count * size
            ends = [*range(size, stop - start + 1, size)]
        all_alike = len(ends)
        while stop + head <= end and data[stop] == first and data.startswith(common, stop + common_at):
            size = same_size or 2 + data[stop + 1]
            if size < head or stop + size > end or (not same_size and size >= 0x82):
                break
            if five and data[stop + head - 1]:  # it has properties
                break
            if qos:
                packet_id = data[stop + id_at] << 8 | data[stop + id_at + 1]
                if not packet_id:
                    break
            packet_ids.append(packet_id)
            stop += size
            ends.append(stop - start)
        if len(ends) == 1:
            return None
        size = ends[0] if len(ends) == all_alike else 0
        return PublishRun(topic, qos, self.version, data[start:stop], head, ends, packet_ids, size)

    def _decode_other(self, first: int, data: bytes, body: int, stop: int) -> Packet:
        packet_type = first >> 4
        if packet_type == PacketType.PUBLISH:
            raise MalformedPacket(f"PUBLISH has QoS 3, or DUP at QoS 0: 0x{first:02x}")
        if packet_type == PacketType.CONNECT:
            name, self.version, bridge, flags = read_protocol(data, body, stop)
            check_flags(first, self.version)
            if self.version == 5 and not data[body - 1]:  # [MQTT-1.5.5-1]
                raise MalformedPacket("the remaining length takes more bytes than it needs")
            connect = read_connect(name, self.version, data, flags, stop)
            connect.bridge = bridge
            return connect
        return read_body(first, data, body, stop, self.version)


def _same_layout(data: bytes, start: int, size: int, columns: int, zero_at: int) -> int:
    """How many packets from ``start`` on have the size and the first bytes of the one there: as many bytes as
    ``columns``. The byte at ``zero_at`` is 0 in each, unless that is negative.

    A column is the same byte of many packets. So it takes one step of the interpreter to look at all of them.
    """
    count = (len(data) - start) // size
    done = 1
    while done < count:
        rows = most = min(count - done, MOST_ROWS)
        first = start + done * size
        for at in range(columns):
            rows = _equal(data[first + at : first + rows * size : size], data[start + at])
            if not rows:
                return done
        if zero_at >= 0:
            rows = _equal(data[first + zero_at : first + rows * size : size], 0)
        done += rows
        if rows < most:
            return done
    return done


def _equal(column: bytes, byte: int) -> int:
    """How many bytes at the start of the column are ``byte``."""
    if column.count(byte) == len(column):
        return len(column)
    return len(column) - len(column.lstrip(bytes((byte,))))


def _packet_ids(data: bytes, at: int, step: int, count: int) -> list[int]:
    """The packet identifiers at ``at`` and at each ``step`` bytes from there, up to the first that is 0."""
    joined = bytearray(2 * count)
    joined[::2] = data[at : at + count * step : step][:count]
    joined[1::2] = data[at + 1 : at + 1 + count * step : step][:count]
    found = array("H", bytes(joined))
    if byteorder == "little":
        found.byteswap()
    packet_ids = found.tolist()
    return packet_ids[: packet_ids.index(0)] if 0 in packet_ids else packet_ids


def _alike_acknowledgements(data: bytes, pos: int) -> list[int]:
    """The packet identifiers of a run of acknowledgements: of the one at ``pos``, and of those after it that
    have the same type, an identifier other than 0, and nothing else."""
    packet_ids: list[int] = []
    while True:
        rows = most = min((len(data) - pos) // 4, MOST_ROWS)
        rows = _equal(data[pos : pos + 4 * rows : 4], data[pos] if rows else 0)
        rows = _equal(data[pos + 1 : pos + 4 * rows : 4], 2)
        found = _packet_ids(data, pos + 2, 4, rows)
        packet_ids += found
        if len(found) < MOST_ROWS:
            return packet_ids
        pos += 4 * most
