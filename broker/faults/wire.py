"""The wire between a transport and its channel, where packets are recorded and faults applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from ..engine.channel import Link
from ..engine.engine import Engine
from ..engine.forget import forget_session
from ..events import Client
from ..packets.encoder import encode
from ..packets.model import Connack, Connect, Packet, Puback, Pubcomp, Pubrec
from ..packets.packet_type import PacketType
from ..packets.reasons import ReasonCode, reason_name
from .frames import Frames, topics_of
from .lane import Lane, Pace
from .rules import CONNECTION_ACTIONS, Faults, Rule
from .seen import SeenPacket

HIGH_WATER = 64 * 1024
"""Bytes held back by faults above which the client is not read from, or counts as one that reads slowly."""
DUP = 0x08
QOS = 0x06

Observer = Callable[[SeenPacket], None]
Deliver = Callable[[bytes], None]


class End(Protocol):
    """The channel, as the wire knows it."""

    @property
    def client(self) -> Client | None: ...
    def wire_received(self, data: bytes) -> None:
        """Bytes have come through."""

    def wire_lost(self) -> None:
        """The connection is gone."""

    def paused(self) -> None: ...
    def resumed(self) -> None: ...


class Wire:
    """Packets pass it late, changed, twice or not at all, as the faults in force say.

    The transport feeds it with :meth:`received` and :meth:`lost`; the channel takes it for its Link.
    """

    def __init__(
        self,
        faults: Faults,
        observer: Observer | None,
        engine: Engine,
        link: Link,
        end: End,
        *,
        peer: str,
        listener: str,
    ) -> None:
        self._faults = faults
        self._observe = observer or _ignore
        self._engine = engine
        self._link = link
        self._end = end
        self._peer = peer
        self._listener = listener
        self._client = ""
        self._frames = {"in": Frames(engine.mqtt.max_packet_size), "out": Frames()}
        self._lanes = {
            "in": Lane(engine.clock, lambda: self._pace("in")),
            "out": Lane(engine.clock, lambda: self._pace("out")),
        }
        self._topics: dict[str, dict[int, str]] = {"in": {}, "out": {}}
        self._matched: dict[Rule, int] = {}
        self._passed = {"in": 0, "out": 0}
        self._held = False
        """Whether the channel has paused reading."""
        self._reading = True
        self._slow = False
        """Whether the channel was told that its client reads slowly."""
        self._cut = False
        faults.watch(self._look_again)

    # ---- what the transport calls

    def received(self, data: bytes) -> None:
        for frame, packet in self._frames["in"].feed(data):
            if self._cut:
                return
            if isinstance(packet, Connect):
                self._name(packet.client_id)
                self._frames["out"].speak(packet.version)
            self._pass(frame, packet, "in", self._end.wire_received)
        self._mind_reading()

    def lost(self) -> None:
        self._lanes["out"].clear()
        self._lanes["in"].then(self._over)

    # ---- what the channel calls

    def write(self, data: bytes) -> None:
        if not self._client and self._end.client is not None:
            self._name(self._end.client.client_id)  # assigned by the broker
        for frame, packet in self._frames["out"].feed(data):
            if self._cut:
                return
            self._pass(frame, packet, "out", self._link.write)
        self._mind_writing()

    def close(self) -> None:
        self._lanes["out"].then(self._link.close)

    def abort(self) -> None:
        self._cut = True
        for lane in self._lanes.values():
            lane.clear()
        self._faults.unwatch(self._look_again)
        self._link.abort()

    def pause_reading(self) -> None:
        self._held = True
        self._mind_reading()

    def resume_reading(self) -> None:
        self._held = False
        self._mind_reading()

    def unsent_bytes(self) -> int:
        return self._link.unsent_bytes() + self._lanes["out"].waiting

    # ---- one packet

    def _pass(self, frame: bytes, packet: Packet | None, way: str, deliver: Deliver) -> None:
        seen = self._see(frame, packet, way)
        strikes = [rule for rule in self._faults if rule.strikes(seen, self._matched)]
        if not strikes:
            self._observe(seen)
            self._send(frame, way, deliver)
            return
        if self._faults.struck is not None:
            for rule in strikes:
                self._faults.struck(rule)
        self._observe(replace(seen, fate=", ".join(map(_fate, strikes))))
        struck = {rule.fault.action: rule for rule in strikes}
        if "lose_session" in struck:
            self._lose_session()
        if "restart" in struck and self._faults.restart is not None:
            fault = struck["restart"].fault
            self._faults.restart(fault.keep_state is not False, fault.seconds or 0.0)
        elif "refuse" in struck and isinstance(packet, Connect):
            self._refuse(packet.version, struck["refuse"].code)
        else:
            delay = sum(rule.fault.seconds or 0.0 for rule in strikes if rule.fault.action == "delay")
            for one in _disturbed(frame, strikes):
                if delay:
                    self._send_later(delay, one, deliver)
                else:
                    self._send(one, way, deliver)
            if "close" in struck:
                self._break()

    def _see(self, frame: bytes, packet: Packet | None, way: str) -> SeenPacket:
        # PUBREL is about a message of its own direction, the other acknowledgements about one of the other.
        other = "out" if way == "in" else "in"
        kept = self._topics[other if isinstance(packet, Puback | Pubrec | Pubcomp) else way]
        topics = topics_of(packet, kept)
        if isinstance(packet, Puback | Pubcomp):
            kept.pop(packet.packet_id, None)
        return SeenPacket(
            at=self._engine.clock.time(),
            direction=way,
            client=self._client,
            type=type(packet).__name__.upper() if packet is not None else "MALFORMED",
            topics=topics,
            packet=packet,
            size=len(frame),
            peer=self._peer,
            listener=self._listener,
        )

    def _send(self, data: bytes, way: str, deliver: Deliver) -> None:
        passed = self._passed[way]
        self._passed[way] = passed + len(data)
        for rule in self._faults:
            limit = rule.fault.after_bytes
            if limit is not None and passed + len(data) >= limit and rule.is_on(self._client, way):
                rule.fired += 1
                if self._faults.struck is not None:
                    self._faults.struck(rule)
                self._lanes[way].put(data[: max(0, limit - passed)], deliver)
                self._break()
                return
        self._lanes[way].put(data, deliver)

    def _send_later(self, seconds: float, data: bytes, deliver: Deliver) -> None:
        """Send the packet later; other packets may overtake it."""

        def due() -> None:
            if not self._cut:
                deliver(data)

        self._engine.clock.call_at(self._engine.clock.monotonic() + seconds, due)

    def _refuse(self, version: int, code: ReasonCode) -> None:
        self.write(encode(Connack(False, code), version))
        self._break()

    def _lose_session(self) -> None:
        session = self._engine.sessions.get(self._client)
        if session is not None:
            forget_session(self._engine, session)

    def _name(self, client_id: str) -> None:
        self._client = client_id
        if client_id:
            self._topics = self._faults.topics.setdefault(client_id, self._topics)

    # ---- the whole connection

    def _pace(self, way: str) -> Pace:
        latency, rate, stalled = 0.0, 0.0, False
        jittery: list[Rule] = []
        for rule in self._faults:
            fault = rule.fault
            if fault.action not in CONNECTION_ACTIONS or not rule.is_on(self._client, way):
                continue
            if fault.action == "latency":
                latency += fault.seconds or 0.0
                if fault.jitter:
                    jittery.append(rule)
            elif fault.action == "limit" and fault.rate:
                rate = min(rate or fault.rate, fault.rate)
            elif fault.action == "stall":
                stalled = True
        return Pace(latency, rate, stalled, _jitter(jittery) if jittery else None)

    def _look_again(self) -> None:
        """Faults were added or removed."""
        for lane in self._lanes.values():
            lane.look_again()
        self._mind_reading()
        self._mind_writing()

    def _mind_reading(self) -> None:
        """Read, unless the channel has paused reading, a fault stalls it, or a slow lane holds too many
        bytes."""
        wanted = not (self._held or self._lanes["in"].waiting > HIGH_WATER or self._pace("in").stalled)
        if wanted and not self._reading:
            self._link.resume_reading()
        elif self._reading and not wanted:
            self._link.pause_reading()
        self._reading = wanted

    def _mind_writing(self) -> None:
        slow = self._lanes["out"].waiting > HIGH_WATER
        if slow and not self._slow:
            self._slow = True
            self._end.paused()
        elif self._slow and not slow:
            self._slow = False
            self._end.resumed()

    def _break(self) -> None:
        """Break the network connection as soon as the bytes that have passed are sent."""
        self._cut = True

        def breaks() -> None:
            self._over()
            self._lanes["out"].then(self._link.close)

        self._lanes["in"].then(breaks)

    def _over(self) -> None:
        self._faults.unwatch(self._look_again)
        if self._client and not any(self._topics.values()):
            self._faults.topics.pop(self._client, None)
        self._end.wire_lost()


def _ignore(_: SeenPacket) -> None:
    """Nobody looks."""


def _fate(rule: Rule) -> str:
    """The description of the effect of ``rule`` on a packet."""
    fault = rule.fault
    return {
        "drop": "dropped",
        "delay": f"delayed by {fault.seconds} s",
        "repeat": f"sent {1 + (fault.count or 1)} times",
        "corrupt": "corrupted",
        "close": "connection broken after it",
        "refuse": f"refused: {reason_name(rule.code)}",
        "lose_session": "session lost",
        "restart": "the broker restarts instead",
    }[fault.action]


def _disturbed(frame: bytes, strikes: Iterable[Rule]) -> list[bytes]:
    """The frames that are sent instead of ``frame``."""
    frames = [frame]
    for rule in strikes:
        fault = rule.fault
        if fault.action == "drop":
            return []
        if fault.action == "repeat":
            frames += [_duplicate(frame)] * (fault.count or 1)
        elif fault.action == "corrupt":
            at = rule.dice.randrange(len(frame)) if fault.byte is None else fault.byte
            frames = [_corrupted(one, at) for one in frames]
    return frames


def _duplicate(frame: bytes) -> bytes:
    """A PUBLISH at QoS 1 or 2 says that it comes again [MQTT-3.3.1-1]; the others are sent as they are."""
    if frame[0] >> 4 == PacketType.PUBLISH and frame[0] & QOS:
        return bytes((frame[0] | DUP,)) + frame[1:]
    return frame


def _corrupted(frame: bytes, at: int) -> bytes:
    at = max(0, at + len(frame)) if at < 0 else min(at, len(frame) - 1)
    return frame[:at] + bytes((frame[at] ^ 0xFF,)) + frame[at + 1 :]


def _jitter(rules: list[Rule]) -> Callable[[], float]:
    return lambda: sum(rule.dice.random() * (rule.fault.jitter or 0.0) for rule in rules)
