"""Packets from one side of a bridge to the other, once the link is up. Pure: bytes in, bytes out.

The bridge keeps no message. At QoS 1 and 2 a message has the same packet identifier on both sides, and each
acknowledgement is handed on as it comes: what the remote broker has not acknowledged, the local session has
still in flight, on disk too where `sqlite {}` says so, and sends again with the next link.

Only a message for which one packet identifier is not enough is a :class:`_Copy`: one that goes to several
remote topics, or whose QoS a forward raises.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..packets.decoder import Decoder
from ..packets.encoder import encode, forwarded, make_publish, puback, pubcomp, pubrec, pubrel
from ..packets.errors import ProtocolError
from ..packets.model import (
    AcknowledgementRun,
    Disconnect,
    Packet,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    PublishRun,
    Pubrec,
    Pubrel,
    Run,
)
from ..packets.packet_type import PacketType
from ..packets.primitives import LARGEST_PACKET
from ..packets.properties import encode_properties
from ..packets.reasons import reason_name
from ..packets.rewrite import rewritten, with_topic
from ..routing.topics import topic_error
from .counters import BridgeCounters
from .echoes import Echoes
from .mapping import Mapping
from .path import path_of, with_path
from .settings import BridgeSettings, Forward, RemoteSubscription

READY: dict[type, Callable[[int], bytes]] = {
    Puback: puback,
    Pubrec: pubrec,
    Pubrel: pubrel,
    Pubcomp: pubcomp,
}
PUBREL = b"\x62"
PASSED_ON = (b"\x40", b"\x50", PUBREL, b"\x70")
"""First bytes of acknowledgements."""
REFUSED = 0x80
"""Reason codes from here on are refusals."""
MAX_REMEMBERED = 1 << 20
"""Bytes of the topics whose mapping is remembered."""
TOPIC_OVERHEAD = 200
MAX_RAISED_BYTES = 16 << 20
"""Bytes of the messages of QoS 0 that are sent at a higher one and not acknowledged."""
SYS = "$SYS/"
AS_IT_IS = RemoteSubscription(Mapping.of("#"))
"""How messages come that local clients have subscribed to by way of a transparent bridge."""
MOST_IN_FLIGHT = 0xFFFF
MOST_QOS_2 = 20
"""Messages of QoS 2 in flight to a remote broker of 3.1 or 3.1.1, which cannot say how many it takes:
mosquitto closes the connection above 20."""


class RemoteEndedError(Exception):
    """The remote broker has sent DISCONNECT; the message says why."""


@dataclass(slots=True)
class _Copy:
    """A message with a packet identifier of its own on the remote side."""

    local_id: int
    """0: the message is of QoS 0 here."""
    local_qos: int
    qos: int
    size: int
    """Bytes of a message of QoS 0 that no acknowledgement has come for; 0 for others."""


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """What CONNACK says."""

    version: int = 4
    receive_maximum: int = MOST_IN_FLIGHT
    maximum_packet_size: int = LARGEST_PACKET
    maximum_qos: int = 2
    retain_available: bool = True


class Relay:
    """Both directions of one link."""

    def __init__(
        self,
        settings: BridgeSettings,
        remote: RemoteLimits,
        *,
        broker_id: str,
        counters: BridgeCounters,
        now: Callable[[], float],
        echoes: Echoes | None = None,
        max_topic_levels: int = 65_535,
    ) -> None:
        """``broker_id`` names this broker in the path of messages of 5.0. ``echoes`` is asked about each
        message; None: none can pass a second time. Messages that come to topics of more levels than
        ``max_topic_levels`` are dropped."""
        self._settings = settings
        self._remote = remote
        self._version = remote.version
        self._broker_id = broker_id
        self._counters = counters
        self._own_path = b""
        """5.0: the properties of a message that had none."""
        if remote.version == 5:
            self._own_path = encode_properties(with_path(None, (broker_id,)), PacketType.PUBLISH)
        self._now = now
        self._max_topic_levels = max_topic_levels
        self.echoes = echoes
        self._from_local = Decoder(LARGEST_PACKET)
        self._from_local.version = remote.version
        self._from_local.runs = True
        self.to_local: list[Packet | Run] = []
        """Packets for the broker's own side, to be taken out after each call."""
        self.to_remote: list[bytes] = []
        """The same for the remote broker."""
        self._targets: dict[str, tuple[tuple[str, Forward], ...]] = {}
        self._sources: dict[str, tuple[str, RemoteSubscription] | None] = {}
        self._remembered = 0
        """Bytes of both, roughly."""
        raises = any(forward.qos for forward in settings.forwards)
        self._room_for_raised = remote.receive_maximum // 2 if raises else 0
        """How many messages of QoS 0 may be in flight at a higher one."""
        self._raised = self._raised_bytes = 0
        self._alone = len(settings.forwards) <= 1 and not raises
        """Whether each message has one packet identifier for sure."""
        self._taken: set[int] = set()
        """Remote identifiers of messages that have the same one here; kept where copies need others."""
        self._copies: dict[int, _Copy] = {}
        self._owed: dict[int, int] = {}
        """Local identifiers, and how many copies of each are not done."""
        self._next_copy = 0xFFFF
        self._reserved: set[int] = set()
        """Remote identifiers of SUBSCRIBE and UNSUBSCRIBE that are not answered [MQTT-2.2.1-4]."""
        self._qos_2: set[int] = set()
        """3.1 and 3.1.1: remote identifiers of messages of QoS 2 that are in flight."""
        self._held: deque[tuple[int, bytes]] = deque()
        """Those that wait until there are fewer; the window of the local session bounds them."""
        self._finished_here: set[int] = set()
        """QoS 2 messages of the local session of which this side sends PUBCOMP itself."""
        self._swallowed: set[int] = set()
        """The same for those of the remote broker, which are not passed on."""

    @property
    def window(self) -> int:
        """How many messages the local session may have in flight."""
        room = self._remote.receive_maximum - self._room_for_raised
        return max(1, room // max(1, len(self._settings.forwards)))

    # ---- from this broker to the other

    def local_data(self, data: bytes) -> None:
        """What the broker's session writes, in whole packets."""
        if self._are_acknowledgements(data):
            self.to_remote.append(data)
            return
        for packet in self._from_local.feed(data):
            if isinstance(packet, Publish):
                self._forward(packet)
            elif isinstance(packet, PublishRun):
                self._forward_run(packet)
            elif isinstance(packet, Pubrel):
                self._release((packet.packet_id,))
            elif isinstance(packet, Puback | Pubrec | Pubcomp):
                self.to_remote.append(encode(packet, self._version))
            elif isinstance(packet, AcknowledgementRun):
                if packet.type is Pubrel:
                    self._release(packet.packet_ids)
                else:
                    self.to_remote += map(READY[packet.type], packet.packet_ids)

    def _are_acknowledgements(self, data: bytes) -> bool:
        """Whether these are acknowledgements of one type, without reasons, that go on as they are."""
        first = data[:1]
        if first not in PASSED_ON or (first == PUBREL and self._finished_here):
            return False
        count = len(data) // 4
        return len(data) == 4 * count and data[::4] == first * count and data[1::4] == b"\2" * count

    def _forward_run(self, run: PublishRun) -> None:
        targets = self._targets_of(run.topic)
        if len(targets) != 1 or not self._goes_as_one(run, *targets[0]):
            for publish in run:
                self._forward(publish)
            return
        topic, section = targets[0][0], self._own_path
        wire = rewritten(run, topic, section) if section or topic != run.topic else run.wire
        if run.qos and not self._alone:
            self._taken.update(run.packet_ids)
        self.to_remote.append(wire)
        self._counters.sent += len(run)

    def _goes_as_one(self, run: PublishRun, topic: str, forward: Forward) -> bool:
        """Whether none of these messages has to be looked at by itself."""
        if self.echoes is not None or forward.retain or forward.qos not in (None, run.qos):
            return False
        if run.qos > self._remote.maximum_qos or (run.qos == 2 and self._version != 5):
            return False  # those of QoS 2 may have to wait
        if run.qos and (self._copies or self._reserved):
            return False
        most = self._remote.maximum_packet_size
        return most == LARGEST_PACKET or run.largest() + _added(topic, self._own_path) <= most

    def _forward(self, publish: Publish) -> None:
        targets = self._targets_of(publish.topic)
        path: tuple[str, ...] = ()
        why = "" if targets else "topic"
        if self._version == 5 and targets:
            path = path_of(publish.properties)
            if self._broker_id in path:
                why = "loop"
            elif len(path) >= self._settings.hop_limit:
                why = "hop_limit"
            path = (*path, self._broker_id)
        if why:
            self._counters.dropped[why] += 1
            self._finish(publish.packet_id, publish.qos)
            return
        if len(targets) == 1:
            self._forward_to(publish, *targets[0], path)
            return
        if publish.qos:
            self._owed[publish.packet_id] = len(targets)
        for topic, forward in targets:
            self._forward_to(publish, topic, forward, path, one_of_many=True)

    def _forward_to(
        self,
        publish: Publish,
        topic: str,
        forward: Forward,
        path: tuple[str, ...],
        *,
        one_of_many: bool = False,
    ) -> None:
        if self.echoes is not None and not publish.dup and not self._goes(topic, publish):
            self._counters.dropped["echo"] += 1
            self._done_with(publish.packet_id, publish.qos, one_of_many)
            return
        qos = min(self._qos_of(publish, forward), self._remote.maximum_qos)
        retain = publish.retain if forward.retain is None else forward.retain
        retain = retain and self._remote.retain_available
        local_id = publish.packet_id
        same = not one_of_many and qos == publish.qos
        same = same and not (qos and (local_id in self._copies or local_id in self._reserved))
        packet_id = (local_id if same else self._free_id()) if qos else 0
        if qos and not packet_id:
            self._counters.dropped["window_full"] += 1
            self._done_with(local_id, publish.qos, one_of_many)
            return
        wire = publish.wire
        rewritten = topic != publish.topic or retain != publish.retain or bool(path)
        if rewritten or not same or publish.version != self._version:
            properties = publish.properties if self._version == 5 else None
            wire = make_publish(
                topic,
                publish.payload,
                qos=qos,
                retain=retain,
                properties=with_path(properties, path) if path else properties,
                version=self._version,
                packet_id=packet_id,
                dup=publish.dup and same,
            ).wire
        if len(wire) > self._remote.maximum_packet_size:
            self._counters.dropped["packet_too_large"] += 1
            self._done_with(local_id, publish.qos, one_of_many)
            return
        if qos and not same:
            self._copies[packet_id] = _Copy(local_id, publish.qos, qos, 0 if publish.qos else len(wire))
            if not publish.qos:
                self._raised += 1
                self._raised_bytes += len(wire)
            elif not one_of_many:
                self._owed[local_id] = 1
        elif qos and not self._alone:
            self._taken.add(packet_id)
        if qos == 2 and self._version != 5 and len(self._qos_2) >= MOST_QOS_2:
            self._held.append((packet_id, wire))
        else:
            self._send(packet_id, qos, wire)
        if publish.qos and not qos:
            self._done_with(local_id, publish.qos, one_of_many)

    def _goes(self, topic: str, publish: Publish) -> bool:
        assert self.echoes is not None
        return self.echoes.goes(self._settings.name, topic, publish.payload, self._now())

    def _is_echo(self, publish: Publish) -> bool:
        assert self.echoes is not None
        return self.echoes.is_echo(self._settings.name, publish.topic, publish.payload, self._now())

    def _send(self, packet_id: int, qos: int, wire: bytes) -> None:
        if qos == 2 and self._version != 5:
            self._qos_2.add(packet_id)
        self.to_remote.append(wire)
        self._counters.sent += 1

    def _completed(self, packet_ids: Iterable[int]) -> None:
        """PUBCOMP has come: others may be sent."""
        self._qos_2.difference_update(packet_ids)
        while self._held and len(self._qos_2) < MOST_QOS_2:
            packet_id, wire = self._held.popleft()
            self._send(packet_id, 2, wire)

    def _qos_of(self, publish: Publish, forward: Forward) -> int:
        """That of the forward; a message of QoS 0 keeps its own where many are in flight at a higher one."""
        if forward.qos is None:
            return publish.qos
        full = self._raised >= self._room_for_raised or self._raised_bytes >= MAX_RAISED_BYTES
        return 0 if full and not publish.qos else forward.qos

    def _targets_of(self, topic: str) -> tuple[tuple[str, Forward], ...]:
        """Remote topics, and the forwards that lead there."""
        found = self._targets.get(topic)
        if found is None:
            found = tuple(
                (mapped, forward)
                for forward in self._settings.forwards
                if forward.mapping.matches(topic)
                and not topic.startswith(SYS)
                and not topic_error(mapped := forward.mapping.map(topic))
            )
            self._remember(topic)
            self._targets[topic] = found
        return found

    def _remember(self, topic: str) -> None:
        self._remembered += 2 * len(topic) + TOPIC_OVERHEAD
        if self._remembered > MAX_REMEMBERED:
            self._targets.clear()
            self._sources.clear()
            self._remembered = 2 * len(topic) + TOPIC_OVERHEAD

    def _free_id(self) -> int:
        """For a copy: from the top, because the session counts from the bottom. 0: all are in use."""
        if len(self._copies) + len(self._taken) + len(self._reserved) >= 0xFFFF:
            return 0
        packet_id = self._next_copy
        while packet_id in self._copies or packet_id in self._taken or packet_id in self._reserved:
            packet_id = packet_id - 1 or 0xFFFF
        self._next_copy = packet_id - 1 or 0xFFFF
        return packet_id

    def reserve(self) -> int:
        """An identifier for SUBSCRIBE or UNSUBSCRIBE, until :meth:`answered`; 0: there is none now."""
        packet_id = self._free_id()
        if packet_id:
            self._reserved.add(packet_id)
        return packet_id

    def answered(self, packet_id: int) -> None:
        """SUBACK or UNSUBACK has come."""
        self._reserved.discard(packet_id)

    def _release(self, packet_ids: Iterable[int]) -> None:
        """PUBREL of the local session."""
        for packet_id in packet_ids:
            if packet_id in self._finished_here:
                self._finished_here.discard(packet_id)
                self.to_local.append(Pubcomp(packet_id))
            else:
                self.to_remote.append(pubrel(packet_id))

    def _done_with(self, local_id: int, local_qos: int, one_of_many: bool) -> None:
        """One copy of a message of the local session is done."""
        if not local_qos:
            return
        if one_of_many:
            self._owed[local_id] -= 1
            if self._owed[local_id]:
                return
            del self._owed[local_id]
        self._finish(local_id, local_qos)

    def _finish(self, local_id: int, local_qos: int) -> None:
        """Acknowledge a message of the local session from here."""
        if local_qos == 1:
            self.to_local.append(Puback(local_id))
        elif local_qos == 2:
            self._finished_here.add(local_id)
            self.to_local.append(Pubrec(local_id))

    # ---- from the other broker to this one

    def from_remote(self, packet: Packet | Run) -> None:
        """Raises ProtocolError where a server may not send that, and RemoteEndedError."""
        if isinstance(packet, Publish):
            self._deliver(packet)
        elif isinstance(packet, PublishRun):
            self._deliver_run(packet)
        elif isinstance(packet, AcknowledgementRun):
            self._acknowledged(packet)
        elif isinstance(packet, Puback | Pubrec | Pubcomp):
            self._answered(packet)
        elif isinstance(packet, Pubrel):
            self._released_there(packet)
        elif isinstance(packet, Disconnect):
            text = packet.properties.reason_string if packet.properties is not None else None
            why = reason_name(packet.reason).replace("_", " ")
            raise RemoteEndedError(f"{why}{f': {text}' if text else ''}")
        elif not isinstance(packet, Pingresp):
            raise ProtocolError(f"{type(packet).__name__.upper()} came from a server")

    def _acknowledged(self, run: AcknowledgementRun) -> None:
        """Acknowledgements without a reason."""
        kind, packet_ids = run.type, run.packet_ids
        if kind is Pubrel:
            if self._swallowed:
                for packet in run:
                    self._released_there(Pubrel(packet.packet_id))
            else:
                self.to_local.append(run)
            return
        if kind is Pubcomp and self._qos_2:
            self._completed(packet_ids)
        if self._copies:
            for packet in run:
                if packet.packet_id in self._copies:
                    self._copy_acknowledged(kind, packet.packet_id)
                else:
                    self._let_go(kind, packet.packet_id)
                    self.to_local.append(packet)
            return
        if not self._alone and kind is not Pubrec:
            self._taken.difference_update(packet_ids)
        self.to_local.append(run)

    def _released_there(self, packet: Pubrel) -> None:
        """PUBREL of the remote broker."""
        if packet.packet_id in self._swallowed:
            self._swallowed.discard(packet.packet_id)
            self.to_remote.append(pubcomp(packet.packet_id))
        else:
            self.to_local.append(packet)

    def _answered(self, packet: Puback | Pubrec | Pubcomp) -> None:
        """An acknowledgement that may have a reason."""
        if isinstance(packet, Pubcomp) and self._qos_2:
            self._completed((packet.packet_id,))
        if packet.reason >= REFUSED and not isinstance(packet, Pubcomp):
            self._counters.dropped["refused"] += 1
        if packet.packet_id not in self._copies:
            self._let_go(type(packet), packet.packet_id, refused=packet.reason >= REFUSED)
            self.to_local.append(packet)
        elif packet.reason >= REFUSED:
            self._copy_done(packet.packet_id)
        else:
            self._copy_acknowledged(type(packet), packet.packet_id)

    def _let_go(self, kind: type, packet_id: int, *, refused: bool = False) -> None:
        if kind is not Pubrec or refused:
            self._taken.discard(packet_id)

    def _copy_acknowledged(self, kind: type, packet_id: int) -> None:
        copy = self._copies[packet_id]
        if kind is Pubrec and copy.qos == 2:
            self._raised_bytes -= copy.size
            copy.size = 0
            self.to_remote.append(pubrel(packet_id))
        elif kind is (Puback if copy.qos == 1 else Pubcomp):
            self._copy_done(packet_id)

    def _copy_done(self, packet_id: int) -> None:
        copy = self._copies.pop(packet_id)
        if copy.local_qos:
            self._done_with(copy.local_id, copy.local_qos, one_of_many=True)
        else:
            self._raised -= 1
            self._raised_bytes -= copy.size

    def _deliver_run(self, run: PublishRun) -> None:
        found = self._source_of(run.topic)
        if found is not None and self.echoes is None:
            topic, subscription = found
            mapped = run if topic == run.topic else with_topic(run, topic)
            allowed = topic.count("/") < self._max_topic_levels
            if mapped is not None and allowed and not subscription.retain:
                self.to_local.append(mapped)
                self._counters.received += len(run)
                return
        for publish in run:
            self._deliver(publish)

    def _deliver(self, publish: Publish) -> None:
        self._counters.received += 1
        found = self._source_of(publish.topic)
        properties = publish.properties
        is_echo = self.echoes is not None and self._is_echo(publish)
        if found is None:
            why = "not_subscribed"
        elif found[0].count("/") >= self._max_topic_levels:
            why = "topic"
        elif properties is not None and self._broker_id in path_of(properties):
            why = "loop"
        elif is_echo:
            why = "echo"
        else:
            why = ""
        if found is None or why:
            self._counters.dropped[why] += 1
            self._swallow(publish)
            return
        topic, subscription = found
        retain = publish.retain if subscription.retain is None else subscription.retain
        rewritten = topic != publish.topic or retain != publish.retain
        if properties is not None and properties.subscription_identifiers:
            properties = forwarded(properties)  # [MQTT-3.3.4-6]
            rewritten = True
        if rewritten:
            publish = make_publish(
                topic,
                publish.payload,
                qos=publish.qos,
                retain=retain,
                properties=properties,
                version=self._version,
                packet_id=publish.packet_id,
                dup=publish.dup,
            )
        self.to_local.append(publish)

    def _source_of(self, topic: str) -> tuple[str, RemoteSubscription] | None:
        """The local topic, and the first subscription that leads there."""
        if topic in self._sources:
            return self._sources[topic]
        found = None
        for subscription in self._settings.subscriptions:
            if subscription.mapping.matches(topic):
                mapped = subscription.mapping.map(topic)
                if not topic_error(mapped) and not mapped.startswith(SYS):
                    found = mapped, subscription
                break
        else:
            if self._settings.transparent and not topic.startswith(SYS):
                found = topic, AS_IT_IS
        self._remember(topic)
        self._sources[topic] = found
        return found

    def _swallow(self, publish: Publish) -> None:
        """Acknowledge a message of the remote broker, and do nothing with it."""
        if publish.qos == 1:
            self.to_remote.append(puback(publish.packet_id))
        elif publish.qos == 2:
            self._swallowed.add(publish.packet_id)
            self.to_remote.append(pubrec(publish.packet_id))


def _added(topic: str, section: bytes) -> int:
    """Bytes that another topic and these properties add to a packet, at most."""
    longer_length = 3
    return len(topic.encode()) + len(section) + longer_length
