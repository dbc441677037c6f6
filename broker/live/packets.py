"""The last packets of single clients, for people who watch one.

Recording begins with the first look at a client and ends some seconds after the last. Of other clients only
CONNECT is seen, because the client that is watched may be about to connect. If packets come faster than
anybody can read them, recording pauses for a while, so that watching costs the broker little.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..clock import Timer
from ..engine.channel import Channel
from ..engine.engine import Engine
from ..events import ClientConnected, ClientDisconnected
from ..faults.frames import Frames, last_packets, topics_of
from ..faults.seen import told
from ..packets.model import Connect, Packet
from .shown import properties_of

KEPT = 100
"""The packets that are kept of one client."""
MAX_CLIENTS = 16
"""The most clients that are watched at the same time."""
SLICE = 0.25
"""If as many packets as are kept come within so many seconds, recording pauses."""
PAUSE = 1.0
"""The length of the pause in seconds."""
FORGOTTEN_AFTER = 10.0
"""Recording ends after so many seconds without a look."""
SHOWN = 500
"""The most characters that are kept of a packet's content, and of its properties."""
SECRET = frozenset({"authentication_data"})


class TooManyError(Exception):
    """MAX_CLIENTS other clients are watched."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One packet, as text."""

    number: int
    """Counts the packets from the first look on. A number that is missing stands for packets that came too
    fast to be kept, at least one."""
    at: float
    """Seconds since the epoch."""
    direction: str
    """``in``: from the client; ``out``: to it; empty where it is no packet."""
    type: str
    """``CONNECT``, ``PUBACK``, ...; ``CLOSED`` for the end of the connection."""
    says: str
    """The beginning of its content; for CLOSED, the reason."""
    properties: str
    """The beginning of its MQTT 5.0 properties as a JSON object; empty if there are none."""


class LastPackets:
    """Records packets through a tap of the engine, while somebody looks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rings: dict[str, _Ring] = {}

    def look(self, client_id: str, after: int = 0) -> list[Seen]:
        """The kept packets with numbers above ``after``, oldest first. Raises TooManyError."""
        ring = self._rings.get(client_id)
        if ring is None:
            if len(self._rings) >= MAX_CLIENTS:
                raise TooManyError
            ring = self._begin(client_id)
        if ring.timer is not None:
            ring.timer.cancel()
        clock = self._engine.clock
        ring.timer = clock.call_at(clock.monotonic() + FORGOTTEN_AFTER, lambda: self._end(client_id))
        return [packet for packet in ring.packets if packet.number > after]

    def _begin(self, client_id: str) -> _Ring:
        engine = self._engine
        if not self._rings:
            engine.taps = (*engine.taps, self)
            engine.hooks.observe(ClientConnected, self._connected)
            engine.hooks.observe(ClientDisconnected, self._disconnected)
        ring = self._rings[client_id] = _Ring()
        self._watch(client_id)
        return ring

    def _end(self, client_id: str) -> None:
        engine = self._engine
        ring = self._rings.pop(client_id)
        if ring.pause is not None:
            ring.pause.cancel()
        if not self._rings:
            engine.taps = tuple(tap for tap in engine.taps if tap is not self)
            engine.hooks.forget(self._connected)
            engine.hooks.forget(self._disconnected)
        self._watch(client_id)

    def _watch(self, client_id: str) -> None:
        session = self._engine.sessions.get(client_id)
        if session is not None and session.channel is not None:
            session.channel.watch()

    def _connected(self, event: ClientConnected) -> None:
        """Record a new connection until its client is known."""
        self._watch(event.client.client_id)

    def _disconnected(self, event: ClientDisconnected) -> None:
        ring = self._rings.get(event.client.client_id)
        if ring is not None:
            ring.put(event.at, "", "CLOSED", event.reason)

    # ---- a tap of the engine

    def sees(self, channel: Channel) -> bool:
        if channel.client is None:
            return True
        ring = self._rings.get(channel.client.client_id)
        return ring is not None and ring.pause is None

    def received(self, channel: Channel, packets: Sequence[Packet]) -> None:
        if channel.client is not None:
            client_id = channel.client.client_id
        elif packets and isinstance(packets[0], Connect):
            client_id = packets[0].client_id
        else:
            return
        ring = self._rings.get(client_id)
        if ring is not None:
            ring.number += len(packets) > KEPT
            self._add(ring, client_id, "in", packets[-KEPT:])

    def sent(self, channel: Channel, data: bytes) -> None:
        ring = self._rings.get(channel.client.client_id) if channel.client is not None else None
        if ring is None or channel.client is None:
            return
        data, left_out = last_packets(data, KEPT)
        ring.number += left_out > 0
        frames = Frames()
        frames.speak(channel.connection.version or 4)
        packets = [packet for _, packet in frames.feed(data) if packet is not None]
        self._add(ring, channel.client.client_id, "out", packets)

    def _add(self, ring: _Ring, client_id: str, direction: str, packets: Sequence[Packet]) -> None:
        clock = self._engine.clock
        at = clock.time()
        for packet in packets:
            ring.add(at, direction, packet)
        now = clock.monotonic()
        if now >= ring.slice_ends:
            ring.slice_ends, ring.inside = now + SLICE, 0
        ring.inside += len(packets)
        if ring.inside >= KEPT and ring.pause is None:
            ring.pause = clock.call_at(now + PAUSE, lambda: self._go_on(ring, client_id))
            self._watch(client_id)

    def _go_on(self, ring: _Ring, client_id: str) -> None:
        ring.pause = None
        ring.number += 1
        self._watch(client_id)


class _Ring:
    """The packets of one client."""

    def __init__(self) -> None:
        self.number = 0
        self.packets: deque[Seen] = deque(maxlen=KEPT)
        self.timer: Timer | None = None
        """Ends the recording."""
        self.slice_ends = 0.0
        self.inside = 0
        """The number of packets in this slice."""
        self.pause: Timer | None = None
        """Runs while there are too many packets."""

    def add(self, at: float, direction: str, packet: Packet) -> None:
        says = told(packet, ", ".join(topics_of(packet, {})[:1]))
        self.put(at, direction, type(packet).__name__.upper(), says, _properties_of(packet))

    def put(self, at: float, direction: str, type: str, says: str, properties: str = "") -> None:
        self.number += 1
        self.packets.append(Seen(self.number, at, direction, type, _cut(says), properties))


def _properties_of(packet: Packet) -> str:
    properties = getattr(packet, "properties", None)
    if properties is None:
        return ""
    found = properties_of(properties)
    found |= dict.fromkeys(SECRET & found.keys(), "******")
    return _cut(json.dumps(found, ensure_ascii=False)) if found else ""


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
