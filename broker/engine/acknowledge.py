"""PUBACK, PUBREC, PUBREL and PUBCOMP, one by one or many of the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..packets import encoder
from ..packets.model import AcknowledgementRun, Puback, Pubcomp, Pubrec, Pubrel
from ..packets.reasons import ReasonCode
from .channel import Channel
from .engine import Engine


def acknowledged(engine: Engine, channel: Channel, run: AcknowledgementRun) -> None:
    """Many acknowledgements of one type, without reason codes."""
    engine.counters.packets_received += len(run) - 1
    _ACKNOWLEDGED[run.type](engine, channel, run.packet_ids)


def pubrel(engine: Engine, channel: Channel, packet: Pubrel) -> None:
    _pubrels(engine, channel, (packet.packet_id,))


def puback(engine: Engine, channel: Channel, packet: Puback) -> None:
    _pubacks(engine, channel, (packet.packet_id,))


def pubrec(engine: Engine, channel: Channel, packet: Pubrec) -> None:
    """A receiver has a QoS 2 message, or refuses it."""
    session = channel.session
    assert session is not None
    if packet.reason >= ReasonCode.UNSPECIFIED_ERROR:
        engine.sender.acknowledge(session, (packet.packet_id,), 2)
    else:
        _pubrecs(engine, channel, (packet.packet_id,))


def pubcomp(engine: Engine, channel: Channel, packet: Pubcomp) -> None:
    _pubcomps(engine, channel, (packet.packet_id,))


def _pubrels(engine: Engine, channel: Channel, packet_ids: Iterable[int]) -> None:
    """PUBREL: the publisher is done with QoS 2 messages [MQTT-4.3.3-11]."""
    session = channel.session
    assert session is not None
    received, keeper = session.received, session.keeper
    five = channel.connection.version == 5
    answers: list[bytes] = []
    for packet_id in packet_ids:
        if five:
            channel.connection.released(packet_id)
        if five and packet_id not in received:
            answers.append(encoder.encode(Pubcomp(packet_id, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), 5))
        else:
            received.discard(packet_id)
            if keeper is not None:
                keeper.forgot(packet_id)
            answers.append(encoder.pubcomp(packet_id))
    engine.pending.send_all(channel.outbox, answers)


def _pubacks(engine: Engine, channel: Channel, packet_ids: Iterable[int]) -> None:
    """PUBACK: a receiver has QoS 1 messages."""
    assert channel.session is not None
    engine.sender.acknowledge(channel.session, packet_ids, 1)


def _pubrecs(engine: Engine, channel: Channel, packet_ids: Iterable[int]) -> None:
    """PUBREC: a receiver has QoS 2 messages."""
    session = channel.session
    assert session is not None
    version = channel.connection.version
    for packet_id in engine.sender.release(session, packet_ids):
        unknown = Pubrel(packet_id)
        if version == 5:
            unknown.reason = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
        channel.send(encoder.encode(unknown, version))


def _pubcomps(engine: Engine, channel: Channel, packet_ids: Iterable[int]) -> None:
    """PUBCOMP: a receiver is done with QoS 2 messages."""
    assert channel.session is not None
    engine.sender.acknowledge(channel.session, packet_ids, 2, released=True)


_ACKNOWLEDGED: dict[type, Callable[[Engine, Channel, Iterable[int]], None]] = {
    Puback: _pubacks,
    Pubrec: _pubrecs,
    Pubrel: _pubrels,
    Pubcomp: _pubcomps,
}
