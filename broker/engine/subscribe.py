"""SUBSCRIBE and UNSUBSCRIBE."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from inspect import isawaitable

from ..events import Client, ClientSubscribe, ClientUnsubscribe, SessionSubscribed, SessionUnsubscribed
from ..hooks import tell
from ..packets.errors import MalformedPacket, ProtocolError
from ..packets.model import Suback, Subscribe, SubscribeFilter, Unsuback, Unsubscribe
from ..packets.reasons import ReasonCode
from ..routing.subscription import Subscription
from ..routing.topics import SHARE, filter_error, has_wildcard, split_share
from ..session.session import Session
from . import client_log
from .access import Action
from .channel import Channel
from .engine import Engine
from .retained import send_retained
from .turns import Work

ASKED_AT_A_TIME = 100
"""The number of filters for which access control is asked together."""


def subscribe(engine: Engine, channel: Channel, packet: Subscribe) -> None:
    """Ask access control for each topic filter, then grant or refuse each."""
    channel.in_turns(_subscribe(engine, channel, packet))


def unsubscribe(engine: Engine, channel: Channel, packet: Unsubscribe) -> None:
    """Remove the subscriptions with exactly these filters [MQTT-3.10.4-1]."""
    channel.in_turns(_unsubscribe(engine, channel, packet))


def add_subscription(engine: Engine, session: Session, subscription: Subscription) -> bool:
    """Add the subscription to the session, or replace the one with the same filter; returns whether it is
    new."""
    new = subscription.topic_filter not in session.subscriptions
    session.subscriptions[subscription.topic_filter] = subscription
    engine.router.subscribe(session, subscription)
    if session.keeper is not None:
        session.keeper.subscribed(subscription)
    if engine.hooks.session_subscribed:
        event = SessionSubscribed(
            at=engine.clock.time(),
            client=session.client,
            topic=subscription.topic_filter,
            qos=subscription.qos,
        )
        tell(engine.hooks.session_subscribed, event)
    return new


def remove_subscription(engine: Engine, session: Session, topic_filter: str) -> bool:
    """Remove the subscription with this filter; False if there was none."""
    if session.subscriptions.pop(topic_filter, None) is None:
        return False
    engine.router.unsubscribe(session, topic_filter)
    if session.keeper is not None:
        session.keeper.unsubscribed(topic_filter)
    if engine.hooks.session_unsubscribed:
        event = SessionUnsubscribed(at=engine.clock.time(), client=session.client, topic=topic_filter)
        tell(engine.hooks.session_unsubscribed, event)
    return True


def _subscribe(engine: Engine, channel: Channel, packet: Subscribe) -> Work:
    for wanted in packet.filters:
        _check_filter(channel, wanted.topic_filter)
        yield None
    if engine.hooks.client_subscribe:
        for wanted in packet.filters:
            event = ClientSubscribe(
                at=engine.clock.time(), client=_client(channel), topic=wanted.topic_filter, qos=wanted.qos
            )
            tell(engine.hooks.client_subscribe, event)
            yield None
    session = channel.session
    assert session is not None
    identifiers = packet.properties.subscription_identifiers if packet.properties else ()
    identifier = identifiers[0] if identifiers else 0
    allowed = yield from _allowed(engine, channel, packet.filters)
    bridge = channel.connection.connect is not None and channel.connection.connect.bridge
    reasons: list[ReasonCode] = []
    granted: dict[str, bool] = {}
    refused: list[tuple[str, ReasonCode]] = []
    for wanted, may in zip(packet.filters, allowed, strict=True):
        reason = _refusal(engine, session, wanted, may)
        if not reason:
            # A bridge of 3.x has no other way to ask for what keeps its messages from coming back to it.
            as_bridge = bridge and not wanted.topic_filter.startswith(SHARE)
            subscription = Subscription(
                wanted.topic_filter,
                min(wanted.qos, engine.mqtt.max_qos),
                wanted.no_local or as_bridge,
                wanted.retain_as_published or as_bridge,
                wanted.retain_handling,
                identifier,
            )
            new = add_subscription(engine, session, subscription)
            granted.setdefault(subscription.topic_filter, new)
            reason = ReasonCode(subscription.qos)
        else:
            refused.append((wanted.topic_filter, reason))
        reasons.append(reason)
        yield None
    if refused:
        client_log.not_subscribed(session.client, refused)
    if engine.neighbours is not None and granted and (known := engine.neighbours.routes_known()) is not None:
        yield known  # so that no message published after SUBACK is missed
    if channel.connection.version != 5:
        # 3.x knows one refusal only [MQTT-3.9.3-2]
        reasons = [r if r <= 2 else ReasonCode.UNSPECIFIED_ERROR for r in reasons]
    wanting: list[Subscription] = []
    for topic_filter, new in granted.items():  # what is named twice counts as it was named last
        latest = session.subscriptions.get(topic_filter)
        if latest is not None and _wants_retained(latest, new):
            wanting.append(latest)
            if session.keeper is not None and len(engine.retained):
                session.keeper.subscribed(latest, owes=True)
        yield None
    channel.send(channel.connection.fitting(Suback(packet.packet_id, reasons)))
    for latest in wanting:
        send_retained(engine, session, latest)
        yield None


def _unsubscribe(engine: Engine, channel: Channel, packet: Unsubscribe) -> Work:
    session = channel.session
    assert session is not None
    for topic_filter in packet.topic_filters:
        _check_filter(channel, topic_filter)
        yield None
    reasons = []
    for topic_filter in packet.topic_filters:
        if engine.hooks.client_unsubscribe:
            event = ClientUnsubscribe(at=engine.clock.time(), client=session.client, topic=topic_filter)
            tell(engine.hooks.client_unsubscribe, event)
        if filter_error(topic_filter):
            reasons.append(ReasonCode.TOPIC_FILTER_INVALID)
        elif remove_subscription(engine, session, topic_filter):
            reasons.append(ReasonCode.SUCCESS)
        else:
            reasons.append(ReasonCode.NO_SUBSCRIPTION_EXISTED)
        yield None
    channel.send(channel.connection.fitting(Unsuback(packet.packet_id, reasons)))


def _check_filter(channel: Channel, topic_filter: str) -> None:
    """An invalid filter ends the connection [3.1.1: MQTT-4.8.0-1] [MQTT-4.13.1-1]. The reason is 0x81,
    malformed packet: 0x8F, topic filter invalid, is for one that "is correctly formed, but is not accepted"
    (5.0, section 3.14.2.1). ``$share`` has a meaning only in 5.0, so 3.x clients may use it in any form."""
    if channel.connection.version == 5 or not topic_filter.startswith(SHARE):
        error = filter_error(topic_filter)
        if error:
            raise MalformedPacket(f"a topic filter is not valid: {error}: {topic_filter!r}")


def _refusal(engine: Engine, session: Session, wanted: SubscribeFilter, allowed: bool) -> ReasonCode:
    """Why this filter is refused, or SUCCESS."""
    topic_filter = wanted.topic_filter
    if filter_error(topic_filter):
        return ReasonCode.TOPIC_FILTER_INVALID
    if not allowed:
        return ReasonCode.NOT_AUTHORIZED
    shared = topic_filter.startswith(SHARE)
    if shared and wanted.no_local:  # [MQTT-3.8.3-4]
        raise ProtocolError("no local is set on a shared subscription")
    if shared and not engine.mqtt.shared_subscription:
        return ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
    if has_wildcard(topic_filter) and not engine.mqtt.wildcard_subscription:
        return ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
    if session.keeper is not None and engine.storage is not None and engine.storage.full:
        engine.counters.limited["storage_full"] += 1
        return ReasonCode.QUOTA_EXCEEDED
    if topic_filter.count("/") >= engine.limits.max_topic_levels:
        engine.counters.limited["max_topic_levels"] += 1
        return ReasonCode.TOPIC_FILTER_INVALID
    full = len(session.subscriptions) >= engine.limits.max_subscriptions
    if full and topic_filter not in session.subscriptions:
        engine.counters.limited["max_subscriptions"] += 1
        return ReasonCode.QUOTA_EXCEEDED
    return ReasonCode.SUCCESS


def _wants_retained(subscription: Subscription, new: bool) -> bool:
    if subscription.topic_filter.startswith(SHARE):
        return False  # [MQTT-3.8.4-4] comment: retained messages do not go to shared subscriptions
    return subscription.retain_handling == 0 or (subscription.retain_handling == 1 and new)


def _allowed(
    engine: Engine, channel: Channel, filters: list[SubscribeFilter]
) -> Generator[Awaitable[list[bool]] | None, list[bool], list[bool]]:
    """The answers of access control for each filter."""
    if not channel.checks_topics:
        return [True] * len(filters)
    allowed: list[bool] = []
    for start in range(0, len(filters), ASKED_AT_A_TIME):
        answers = [_authorize(engine, channel, wanted) for wanted in filters[start : start + ASKED_AT_A_TIME]]
        if any(isawaitable(answer) for answer in answers):
            allowed += yield _all(answers)
        else:
            allowed += [answer is True for answer in answers]
            yield None
    return allowed


def _authorize(
    engine: Engine, channel: Channel, wanted: SubscribeFilter
) -> bool | Awaitable[bool | None] | None:
    if filter_error(wanted.topic_filter):
        return False
    _, topic_filter = split_share(wanted.topic_filter)
    return engine.access.authorize(_client(channel), topic_filter, Action.SUBSCRIBE)


async def _all(answers: list[bool | Awaitable[bool | None] | None]) -> list[bool]:
    async def one(answer: bool | Awaitable[bool | None] | None) -> bool:
        return (await answer if isawaitable(answer) else answer) is True

    return list(await asyncio.gather(*(one(answer) for answer in answers)))


def _client(channel: Channel) -> Client:
    assert channel.client is not None
    return channel.client
