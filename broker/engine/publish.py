"""PUBLISH, from a client or from the broker itself."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from ..delivery.fanout import Plan
from ..events import Client
from ..packets.encoder import encode, make_publish, puback, pubrec
from ..packets.errors import ProtocolError
from ..packets.model import Puback, Publish, PublishRun, Pubrec
from ..packets.properties import Properties
from ..packets.reasons import ReasonCode
from ..routing.router import ManyReceiversError, UnansweredError
from ..session.session import Session
from .access import Action
from .channel import Channel
from .engine import Engine
from .spreading import AGAIN, LARGE_MESSAGE, deliver_in_steps, deliver_run_in_steps, goes_in_turns
from .turns import Work

SYS = "$SYS/"
"""The prefix of the broker's own topics."""
LONGEST_REMEMBERED = 1024
"""The length of the longest topic for which a client's permission is remembered beside others, in
characters."""
MAX_AT_ONE_GO = 2000
"""The largest number of copies made of a run above QoS 0 at a time, while other clients wait."""
STORAGE_RETRY = 1.0
"""Seconds until a message that a bridge has brought is tried again while the storage is full."""
_BRIDGE_STATE = "$SYS/broker/connection/"


def publish(engine: Engine, channel: Channel, packet: Publish) -> None:
    """Handle a message from a client: check, retain, distribute, acknowledge."""
    session = channel.session
    assert session is not None
    qos = packet.qos
    if qos == 2 and packet.packet_id in session.received:
        channel.send(pubrec(packet.packet_id))  # [MQTT-4.3.3-10] a repeat is not handed out again
        return
    if channel.checks_topics:
        allowed = session.allowed.get(packet.topic)
        if allowed is None:
            allowed = _ask(engine, channel, session, packet)
            if allowed is None:
                return
        if not allowed:
            _deny(engine, channel, packet)
            return
    topic = packet.topic
    if topic[0] == "$":
        if is_brokers_own(topic):
            _deny(engine, channel, packet)
            return
        if topic in engine.commands:
            _command(engine, channel, packet)
            return
    if engine.restricts_publish:
        _check(engine, packet)
        neighbours = engine.neighbours
        if qos and neighbours is not None and (room := neighbours.concerned(topic)) is not None:
            channel.suspend(room, lambda _: publish(engine, channel, packet))
            return
        backlog = engine.backlog
        if qos and backlog is not None and (room := backlog.room_for(packet, session)) is not None:
            channel.suspend(room, lambda _: publish(engine, channel, packet))
            return
    if packet.properties is not None:
        stamp(engine, packet)
    packet.source = session.client
    try:
        if engine.restricts_publish and qos and _cannot_be_kept(engine, packet, session):
            _refuse(engine, channel, packet)
            return
        receivers = distribute(engine, packet, session)
    except UnansweredError as unanswered:
        channel.suspend(_all(unanswered.answers), lambda _: publish(engine, channel, packet))
        return
    except ManyReceiversError:
        _spread(engine, channel, packet)
        return
    engine.counters.publish_received += 1
    if qos:
        _acknowledge(engine, channel, packet, receivers)


def _spread(engine: Engine, channel: Channel, packet: Publish) -> None:
    """Send a message in turns. The client waits meanwhile, and the acknowledgement comes at the end: until
    then a crash might lose the rest."""
    session, spreading, size = channel.session, engine.spreading, len(packet.wire)
    assert session is not None
    if not spreading.has_room(size):
        channel.wait(AGAIN, lambda: publish(engine, channel, packet))
        return
    resume = channel.until_called(partial(_spread_to_all, engine, channel, packet))
    key = (session, packet.packet_id) if packet.qos == 2 else None
    # [MQTT-4.3.3-10] a repeat on a new connection waits for the first one
    if key is None or not spreading.join(key, resume):
        spreading.add(_from_client(engine, packet, session, channel), size, resume, key)


def _spread_to_all(engine: Engine, channel: Channel, packet: Publish) -> None:
    if packet.qos:
        _acknowledge(engine, channel, packet, receivers=True)


def _from_client(engine: Engine, packet: Publish, publisher: Session, channel: Channel) -> Work:
    yield from _to_all(engine, packet, publisher)
    engine.counters.publish_received += 1
    if packet.qos == 2 and channel.closed:  # the client will send it again
        _note_received(publisher, packet.packet_id)


def _to_all(engine: Engine, packet: Publish, publisher: Session | None) -> Work:
    """The work of :func:`distribute`, in steps."""
    route = yield from engine.router.long_route(packet.topic)
    if packet.expires_at is not None and packet.expires_at <= engine.clock.monotonic():
        engine.reports.dropped("expired", packet)  # [MQTT-3.3.2-5]
        return
    observers = engine.router.observers(packet.topic)
    if observers and engine.loops is not None and engine.loops.is_copy(packet, publisher):
        engine.reports.dropped("loop", packet, publisher.client if publisher is not None else None)
        return
    if packet.retain:
        retain(engine, packet)
    if observers:
        engine.reports.published(observers, packet)
    if not route.parts and not route.groups:
        engine.reports.dropped("no_subscribers", packet)
    yield from deliver_in_steps(engine, route, packet, publisher)


def _spread_run(engine: Engine, channel: Channel, run: PublishRun) -> bool:
    """Send messages of QoS 0 in turns. False, and nothing has been done, if somebody observes them."""
    session, size = channel.session, len(run.wire)
    if run.qos or session is None or engine.router.observers(run.topic):
        return False
    if not engine.spreading.has_room(size):
        return False

    def work() -> Work:
        route = yield from engine.router.long_route(run.topic)
        yield from deliver_run_in_steps(engine, route, run, session)

    engine.spreading.add(work(), size, channel.until_called(_nothing))
    engine.counters.publish_received += len(run)
    engine.counters.packets_received += len(run) - 1
    return True


def _nothing() -> None: ...


def _command(engine: Engine, channel: Channel, packet: Publish) -> None:
    """A message to the broker itself. It is acknowledged when it has been carried out."""
    assert channel.session is not None
    command = engine.commands[packet.topic]
    answer = command(channel.session.client, packet.payload)
    channel.suspend(answer, partial(_carried_out, engine, channel, packet))


def _carried_out(engine: Engine, channel: Channel, packet: Publish, reason: ReasonCode) -> None:
    engine.counters.publish_received += 1
    if not packet.qos:
        return
    if reason and channel.connection.version == 5:
        _tell_refused(channel, packet, reason)
    else:
        _acknowledge(engine, channel, packet, receivers=True)


def is_brokers_own(topic: str) -> bool:
    """Whether only the broker may publish to the topic: all of ``$SYS/``, except for
    ``$SYS/broker/connection/NAME/state``, where a bridge of mosquitto tells whether it is connected."""
    if not topic.startswith(SYS):
        return False
    return not (topic.startswith(_BRIDGE_STATE) and topic.endswith("/state") and topic.count("/") == 4)


def publish_run(engine: Engine, channel: Channel, run: PublishRun) -> bool:
    """Handle alike messages from a client together. Returns False, and has done nothing, if they must be
    handled one by one."""
    session = channel.session
    assert session is not None
    counters = engine.counters
    topic = run.topic
    if channel.checks_topics and not session.allowed.get(topic):
        return False
    route = engine.router.routes.get(topic)
    if route is None and topic[0] != "$" and engine.router.has_long_route(topic):
        return _spread_run(engine, channel, run)
    if route is None or route.observers or route.groups or topic[0] == "$":
        return False
    if route.targets:
        plan = engine.fanout.plan_for_run(route, run, session)
        if plan is None or (run.qos and engine.restricts_publish):
            return False
        if run.qos:
            if len(run) * len(plan.renumber) > MAX_AT_ONE_GO:
                return False
            _publish_acknowledged(engine, channel, session, run, plan)
        elif len(run.wire) > LARGE_MESSAGE and goes_in_turns(route, len(run.wire)):
            return _spread_run(engine, channel, run)
        else:
            waiting = engine.fanout.forward(plan, run)
            if waiting:
                channel.in_turns(engine.fanout.forward_later(waiting, run))
            counters.publish_received += len(run)
    elif run.qos or engine.hooks.message_dropped:
        return False
    else:
        counters.dropped["no_subscribers"] += len(run)
        counters.publish_received += len(run)
    counters.packets_received += len(run) - 1
    return True


def _publish_acknowledged(
    engine: Engine, channel: Channel, session: Session, run: PublishRun, plan: Plan
) -> None:
    """The messages of ``run``, which are of QoS 1 or 2; those that are repeats are only acknowledged."""
    packet_ids = run.packet_ids
    if run.qos == 1:
        answers = [puback(packet_id) for packet_id in packet_ids]
        channel.connection.unacknowledged.difference_update(packet_ids)
    else:
        answers = [pubrec(packet_id) for packet_id in packet_ids]
        run = _first_time(session, run)
    if len(run):
        engine.fanout.renumber(plan, run, session.client)
        engine.counters.publish_received += len(run)
    if engine.neighbours is None or not engine.neighbours.holds(channel.outbox, b"".join(answers)):
        engine.pending.send_all(channel.outbox, answers)


def _first_time(session: Session, run: PublishRun) -> PublishRun:
    """The messages of QoS 2 that are not repeats [MQTT-4.3.3-10]."""
    keeper = session.keeper
    new = []
    for at, packet_id in enumerate(run.packet_ids):
        if packet_id not in session.received:
            session.receive(packet_id)
            new.append(at)
            if keeper is not None:
                keeper.received(packet_id)
    return run if len(new) == len(run) else run.only(new)


def _acknowledge(engine: Engine, channel: Channel, packet: Publish, receivers: bool) -> None:
    """PUBACK or PUBREC: the message is ours now [MQTT-4.3.2-4] [MQTT-4.3.3-8]."""
    packet_id = packet.packet_id
    if packet.qos == 2:
        assert channel.session is not None
        _note_received(channel.session, packet_id)
    if channel.connection.version == 5:
        if packet.qos == 1:
            channel.connection.unacknowledged.discard(packet_id)
        if not receivers:
            tell = Puback if packet.qos == 1 else Pubrec
            _answer(engine, channel, encode(tell(packet_id, ReasonCode.NO_MATCHING_SUBSCRIBERS), 5))
            return
    _answer(engine, channel, puback(packet_id) if packet.qos == 1 else pubrec(packet_id))


def _answer(engine: Engine, channel: Channel, answer: bytes) -> None:
    if engine.neighbours is None or not engine.neighbours.holds(channel.outbox, answer):
        engine.pending.send(channel.outbox, answer)


def _note_received(session: Session, packet_id: int) -> None:
    session.receive(packet_id)
    if session.keeper is not None:
        session.keeper.received(packet_id)


def distribute(engine: Engine, packet: Publish, publisher: Session | None) -> bool:
    """Retain the message if its RETAIN flag is set, tell the observers, and deliver it. Returns whether
    anybody subscribes.

    Raises UnansweredError, and has done nothing, while it is not known who may receive the topic; and
    ManyReceiversError if the message has to be sent in turns.
    """
    topic = packet.topic
    router = engine.router
    route = router.routes.get(topic) or router.route(topic)
    if len(packet.wire) > LARGE_MESSAGE and goes_in_turns(route, len(packet.wire)):
        raise ManyReceiversError(topic)
    if route.observers:
        if engine.loops is not None and engine.loops.is_copy(packet, publisher):
            engine.reports.dropped("loop", packet, publisher.client if publisher is not None else None)
            return True
        if packet.retain:
            retain(engine, packet)
        engine.reports.published(route.observers, packet)
    elif packet.retain:
        retain(engine, packet)
    if route.targets or route.groups:
        engine.fanout.deliver(route, packet, publisher)
        return True
    if packet.source is not None:  # what the broker says of itself need not be heard
        engine.reports.dropped("no_subscribers", packet)
    return False


def drop_copy(engine: Engine, channel: Channel, packet: Publish) -> None:
    """Acknowledge a message that has come another way before, and do no more with it."""
    session = channel.session
    assert session is not None
    packet.source = session.client
    engine.counters.publish_received += 1
    engine.reports.dropped("loop", packet, session.client)
    if packet.qos:
        _acknowledge(engine, channel, packet, receivers=True)


def distribute_when_known(engine: Engine, packet: Publish, publisher: Session | None) -> None:
    """As :func:`distribute`, for a message that no connection waits for: a will, or one of the broker's own
    messages. It waits by itself until it is known who may receive it."""
    try:
        if engine.spreading.has_unawaited:  # this one comes after them
            raise ManyReceiversError(packet.topic)
        distribute(engine, packet, publisher)
    except UnansweredError as unanswered:
        engine.spawn(_all(unanswered.answers), lambda _: _distribute_later(engine, packet, publisher))
    except ManyReceiversError:
        size = len(packet.wire)
        if engine.spreading.has_room(size):
            engine.spreading.add(_to_all(engine, packet, publisher), size)
        else:
            engine.counters.limited["many_receivers"] += 1
            engine.reports.dropped("quota_exceeded", packet)


def broadcast(
    engine: Engine,
    topic: str,
    payload: bytes,
    *,
    qos: int = 0,
    retain: bool = False,
    properties: Properties | None = None,
    source: Client | None = None,
) -> None:
    """Publish a message of the broker itself, such as ``$SYS``, or in the name of ``source``. The caller
    flushes."""
    packet = make_publish(
        topic, payload, qos=qos, retain=retain, properties=properties, version=5 if properties else 4
    )
    packet.source = source
    stamp(engine, packet)
    distribute_when_known(engine, packet, None)


def retain(engine: Engine, packet: Publish) -> None:
    """Keep the message for later subscribers; an empty one clears the topic [MQTT-3.3.1-6]."""
    if len(packet.wire) == packet.payload_at:
        engine.retained.remove(packet.topic)
    elif packet.topic.count("/") >= engine.limits.max_topic_levels or not engine.retained.set(
        packet.topic, packet
    ):
        engine.counters.limited["max_retained"] += 1
        engine.reports.dropped("quota_exceeded", packet)
        return
    if engine.hooks.message_retained:
        engine.reports.retained(packet)


def _check(engine: Engine, packet: Publish) -> None:
    """Raises ProtocolError if the message uses a feature that CONNACK announced as not available
    [MQTT-3.2.2-11] [MQTT-3.2.2-14]."""
    if packet.qos > engine.mqtt.max_qos:
        raise ProtocolError(
            f"QoS {packet.qos} is not served; the highest is {engine.mqtt.max_qos}",
            ReasonCode.QOS_NOT_SUPPORTED,
        )
    if packet.retain and not engine.mqtt.retain_available:
        raise ProtocolError("retained messages are not served", ReasonCode.RETAIN_NOT_SUPPORTED)


def _cannot_be_kept(engine: Engine, packet: Publish, session: Session) -> bool:
    """Whether the message would have to be stored, and the storage is full. Raises UnansweredError."""
    if engine.storage is None or not engine.storage.full:
        return False
    if packet.retain or (packet.qos == 2 and session.keeper is not None):
        return True
    try:
        route = engine.router.route(packet.topic)
    except ManyReceiversError:
        return True  # some session of so many is kept, where any is
    return bool(route.groups) or any(t.qos and t.session.keeper is not None for t in route.targets)


def _refuse(engine: Engine, channel: Channel, packet: Publish) -> None:
    """Refuse a message that cannot be stored: a 5.0 client is told, a 3.x client gets no acknowledgement, and
    a bridge of this broker waits."""
    engine.counters.limited["storage_full"] += 1
    if channel.inside:  # the broker that a bridge has it from keeps it meanwhile
        channel.wait(STORAGE_RETRY, lambda: publish(engine, channel, packet))
        return
    engine.reports.dropped("quota_exceeded", packet, channel.client)
    if channel.connection.version == 5:
        _tell_refused(channel, packet, ReasonCode.QUOTA_EXCEEDED)


def _tell_refused(channel: Channel, packet: Publish, reason: ReasonCode) -> None:
    """Acknowledge a message of a 5.0 client with the reason why it is refused."""
    channel.connection.unacknowledged.discard(packet.packet_id)
    tell = Puback if packet.qos == 1 else Pubrec
    channel.send(encode(tell(packet.packet_id, reason), 5))


def stamp(engine: Engine, packet: Publish) -> None:
    """Note when the message expires, by our clock [MQTT-3.3.2-5]."""
    properties = packet.properties
    if properties is not None and properties.message_expiry_interval is not None:
        packet.expires_at = engine.clock.monotonic() + properties.message_expiry_interval


def _ask(engine: Engine, channel: Channel, session: Session, packet: Publish) -> bool | None:
    """Ask access control and remember its answer. None: the answer comes later, and the packet is handled
    then."""
    access = engine.access
    answer = access.authorize(session.client, packet.topic, Action.PUBLISH)
    if answer is None:
        return False  # not to be remembered
    if isinstance(answer, bool):
        _remember(engine, session, packet.topic, answer)
        return answer
    channel.suspend(answer, partial(_answered, engine, channel, session, packet, access.generation))
    return None


def _answered(
    engine: Engine,
    channel: Channel,
    session: Session,
    packet: Publish,
    generation: int,
    allowed: bool | None,
) -> None:
    if generation != engine.access.generation:  # the rules have changed: ask again
        publish(engine, channel, packet)
    elif allowed is None:
        _deny(engine, channel, packet)
    else:
        _remember(engine, session, packet.topic, allowed)
        publish(engine, channel, packet)


def _remember(engine: Engine, session: Session, topic: str, allowed: bool) -> None:
    if len(session.allowed) >= engine.access.max_remembered or len(topic) > LONGEST_REMEMBERED:
        session.allowed.clear()  # so there is one long topic at most
    session.allow(topic, allowed)


def _distribute_later(engine: Engine, packet: Publish, publisher: Session | None) -> None:
    distribute_when_known(engine, packet, publisher)
    engine.flush()


async def _all(answers: list[Awaitable[bool]]) -> None:
    for answer in answers:
        await answer


def _deny(engine: Engine, channel: Channel, packet: Publish) -> None:
    """The client may not publish this message: a 5.0 client is told, a 3.x client gets an acknowledgement and
    the message is dropped [MQTT-3.3.5-2]."""
    engine.reports.dropped("not_authorized", packet, channel.client)
    if engine.access.deny_disconnects:
        raise ProtocolError(f"not allowed to publish to {packet.topic}", ReasonCode.NOT_AUTHORIZED)
    if not packet.qos:
        return
    if channel.connection.version == 5:
        _tell_refused(channel, packet, ReasonCode.NOT_AUTHORIZED)
    elif packet.qos == 1:
        channel.send(puback(packet.packet_id))
    else:
        assert channel.session is not None
        _note_received(channel.session, packet.packet_id)
        channel.send(pubrec(packet.packet_id))
