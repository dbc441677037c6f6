"""The end of a connection, and of a session: DISCONNECT, wills, expiry."""

from __future__ import annotations

from functools import partial
from math import inf

from ..events import ClientDisconnected, SessionTerminated
from ..hooks import tell
from ..packets.encoder import make_publish
from ..packets.errors import ProtocolError
from ..packets.model import Disconnect, Publish, Will
from ..packets.properties import Properties
from ..packets.reasons import ReasonCode, reason_name
from ..routing.topics import SHARE
from ..session.inflight import Inflight, Outgoing
from ..session.session import Session
from . import client_log
from .access import Action
from .channel import Channel
from .engine import Engine
from .publish import distribute_when_known

NEVER = 0xFFFFFFFF
"""The session expiry interval that means never."""


def disconnect(engine: Engine, channel: Channel, packet: Disconnect) -> None:
    """Handle the client's DISCONNECT."""
    session = channel.session
    if session is None:  # in the middle of its authentication
        leave(engine, channel, "normal")
        channel.hang_up()
        return
    properties = packet.properties
    if properties is not None and properties.session_expiry_interval is not None:
        asked = channel.connection.connect
        before = asked.properties.session_expiry_interval if asked and asked.properties else None
        if properties.session_expiry_interval and not before:
            raise ProtocolError("DISCONNECT sets a session expiry interval, CONNECT had set 0")
        session.expiry = expiry_seconds(engine, properties.session_expiry_interval)
    if packet.reason == ReasonCode.NORMAL_DISCONNECTION:
        session.will = None  # [MQTT-3.14.4-3]
        leave(engine, channel, "normal")
    else:
        leave(engine, channel, reason_name(packet.reason))
    channel.hang_up()


def leave(engine: Engine, channel: Channel, reason: str) -> None:
    """The connection is over, whoever ended it: start the session's timers, and tell the observers of
    ClientDisconnected."""
    if channel.closed:
        return
    session = detach(engine, channel)
    if channel.session is not None:
        client_log.disconnected(channel.session.client, reason)
    if session is not None:
        outlive(engine, session, reason)
    if channel.client is not None and engine.hooks.client_disconnected:
        event = ClientDisconnected(
            at=engine.clock.time(),
            client=channel.client,
            reason=reason,
            admitted=channel.session is not None,
        )
        tell(engine.hooks.client_disconnected, event)


def detach(engine: Engine, channel: Channel) -> Session | None:
    """Remove the connection from the engine. Returns the session that it leaves without one."""
    channel.closed = True
    engine.channels.discard(channel)
    engine.deadlines.forget(channel)
    session = channel.session
    if session is None or session.channel is not channel:
        return None
    session.channel = None
    session.outbox = None
    engine.connected -= 1
    channel.listener_limits.connected -= 1
    if session.retry_timer is not None:
        session.retry_timer.cancel()
        session.retry_timer = None
    if engine.neighbours is not None:
        engine.neighbours.moved(session)
    return session


def end_session(engine: Engine, session: Session, reason: str) -> None:
    """Forget the session: its will is due [MQTT-3.1.2-8], its shared messages go to others [MQTT-4.8.2-4]."""
    for timer in (session.expiry_timer, session.will_timer):
        if timer is not None:
            timer.cancel()
    session.expiry_timer = session.will_timer = None
    engine.sessions.remove(session)
    if engine.claims is not None:
        engine.claims.ended(session)
    keeper, session.keeper = session.keeper, None
    if keeper is not None:
        if _is_behind(session) and _wants_each(engine, session):
            keeper.ended_behind(session, partial(_pass_on_one, engine, session))
            session.queue.elsewhere = 0  # type: ignore[union-attr]
        else:
            keeper.ended()
    for topic_filter in session.subscriptions:
        engine.router.unsubscribe(session, topic_filter)
    session.subscriptions.clear()
    _publish_will(engine, session)
    if session.inflight.messages or session.queue is not None:
        pass_on(engine, session)
    if engine.hooks.session_terminated:
        event = SessionTerminated(at=engine.clock.time(), client=session.client, reason=reason)
        tell(engine.hooks.session_terminated, event)


def cancel_departure(session: Session) -> None:
    """The client is back in time: cancel the session's expiry and a delayed will [MQTT-3.1.3-9]."""
    for timer in (session.expiry_timer, session.will_timer):
        if timer is not None:
            timer.cancel()
    session.expiry_timer = session.will_timer = None
    session.will = None


def expiry_seconds(engine: Engine, interval: int) -> float:
    """A session expiry interval as the broker grants it; ``math.inf`` means never."""
    granted = min(interval, engine.mqtt.max_session_expiry)
    return inf if granted >= NEVER else float(granted)


def outlive(engine: Engine, session: Session, reason: str) -> None:
    """Schedule the effects of the connection's end: the will, and the end of the session."""
    if not session.expiry:
        end_session(engine, session, "takenover" if reason == "takenover" else "disconnected")
        return
    depart(engine, session, engine.clock.monotonic())
    if session.keeper is not None:
        session.keeper.changed(session)


def depart(engine: Engine, session: Session, left_at: float) -> None:
    """Schedule the effects of a connection's end at ``left_at``, by the monotonic clock."""
    will = session.will
    if will is not None:
        delay = will_delay(will)
        if not delay:
            _publish_will(engine, session)
        elif delay < session.expiry:
            wait_for_will(engine, session, left_at + delay)
    if session.expiry != inf:
        wait_for_end(engine, session, left_at + session.expiry)


def will_delay(will: Will) -> int:
    """In seconds."""
    return (will.properties.will_delay_interval or 0) if will.properties else 0


def happen_until(engine: Engine, session: Session, now: float) -> None:
    """Do what is due by ``now``: publish the will, end the session."""
    for timer in (session.will_timer, session.expiry_timer):
        if timer is not None and timer.when <= now and timer.callback is not None:
            callback = timer.callback
            timer.cancel()
            callback()


def wait_for_will(engine: Engine, session: Session, due: float) -> None:
    session.will_timer = engine.clock.call_at(due, partial(_will_due, engine, session))


def wait_for_end(engine: Engine, session: Session, due: float) -> None:
    session.expiry_timer = engine.clock.call_at(due, partial(_expired, engine, session))


def _will_due(engine: Engine, session: Session) -> None:
    session.will_timer = None
    _publish_will(engine, session)
    if session.keeper is not None:
        session.keeper.changed(session)
    engine.flush()


def _expired(engine: Engine, session: Session) -> None:
    session.expiry_timer = None
    end_session(engine, session, "expired")
    engine.flush()


def _publish_will(engine: Engine, session: Session) -> None:
    """Publish the will in the name of its client, once [MQTT-3.1.2-10], unless the client may no longer
    publish it."""
    will, session.will = session.will, None
    if will is not None:
        _publish_if_allowed(engine, session, will, session.will_generation)


def _publish_if_allowed(engine: Engine, session: Session, will: Will, allowed_by: int) -> None:
    """``allowed_by``: the generation of access control that allowed the will."""
    access = engine.access
    packet = _will_message(engine, session, will)
    if session.superuser or not access.checks_topics or allowed_by == access.generation:
        distribute_when_known(engine, packet, session)
        return
    generation = access.generation

    def decided(allowed: bool | None) -> None:
        if allowed:
            _publish_if_allowed(engine, session, will, generation)
        else:
            engine.reports.dropped("not_authorized", packet, session.client)

    def decided_later(allowed: bool | None) -> None:
        decided(allowed)
        engine.flush()

    answer = access.authorize(packet.source or session.client, will.topic, Action.PUBLISH)
    if answer is None or isinstance(answer, bool):
        decided(answer)
    else:
        engine.spawn(answer, decided_later)


def _will_message(engine: Engine, session: Session, will: Will) -> Publish:
    packet = make_publish(
        will.topic,
        will.payload,
        qos=min(will.qos, engine.mqtt.max_qos),
        retain=will.retain,
        properties=_message_properties(will),
        version=5 if session.version == 5 else 4,
    )
    if packet.properties is not None and packet.properties.message_expiry_interval is not None:
        packet.expires_at = engine.clock.monotonic() + packet.properties.message_expiry_interval
    packet.source = session.client
    return packet


def _message_properties(will: Will) -> Properties | None:
    """The will's properties without the will delay interval."""
    given = will.properties
    if given is None:
        return None
    kept = Properties(
        payload_format_indicator=given.payload_format_indicator,
        message_expiry_interval=given.message_expiry_interval,
        content_type=given.content_type,
        response_topic=given.response_topic,
        correlation_data=given.correlation_data,
        user_properties=given.user_properties,
    )
    return kept if kept != Properties() else None


def pass_on(engine: Engine, session: Session) -> None:
    """Give the messages that a shared subscription has queued for this session to other members of the group.
    A QoS 2 message that was already sent may not go to another member [MQTT-4.8.2-5], nor one that has
    expired [MQTT-3.3.2-5]."""
    sent = {id(message) for message in session.inflight.messages.values()}
    unfinished = session.unfinished()
    if session.queue is not None:
        engine.counters.dropped["session_terminated"] += session.queue.elsewhere
    session.behind = False
    session.inflight = Inflight()
    session.queue = None
    for message in unfinished:
        _pass_on_one(engine, session, message, may_move=message.qos < 2 or id(message) not in sent)


def _pass_on_one(engine: Engine, session: Session, message: Outgoing, *, may_move: bool = True) -> None:
    publish = message.publish
    if message.group is None or not may_move:
        engine.reports.dropped("session_terminated", publish, session.client)
    elif publish.expires_at is not None and publish.expires_at <= engine.clock.monotonic():
        engine.reports.dropped("expired", publish, session.client)
    else:
        engine.fanout.to_group(message.group.share_of(publish.topic), publish, besides=session)


def _is_behind(session: Session) -> bool:
    """Whether messages are with the keeper alone."""
    return session.queue is not None and session.queue.elsewhere > 0


def _wants_each(engine: Engine, session: Session) -> bool:
    """Whether it is not enough to count them: somebody hears of each, or others may get some."""
    return bool(engine.hooks.message_dropped) or any(f.startswith(SHARE) for f in session.subscriptions)
