"""What an outage does: connections cut and state gone without a word, no DISCONNECT, no will, no event."""

from __future__ import annotations

from ..session.session import Session
from .channel import Channel
from .engine import Engine


def cut(engine: Engine, channel: Channel) -> None:
    """End the connection as a power cut does; its session stays as it is, only without a connection."""
    channel.closed = True
    engine.channels.discard(channel)
    if channel.timer is not None:
        channel.timer.cancel()
        channel.timer = None
    session = channel.session
    if session is not None and session.channel is channel:
        session.channel = None
        session.outbox = None
        engine.connected -= 1
        _cancel_timers(session)
    channel.link.abort()


def forget_session(engine: Engine, session: Session) -> None:
    """The broker has never heard of this session."""
    if session.channel is not None:
        cut(engine, session.channel)
    _cancel_timers(session)
    for topic_filter in session.subscriptions:
        engine.router.unsubscribe(session, topic_filter)
    session.subscriptions.clear()
    engine.sessions.remove(session)


def forget_everything(engine: Engine) -> None:
    """Every connection, session and retained message."""
    for channel in list(engine.channels):
        cut(engine, channel)
    for session in engine.sessions:
        forget_session(engine, session)
    engine.retained.clear()


def _cancel_timers(session: Session) -> None:
    for timer in (session.expiry_timer, session.will_timer, session.retry_timer):
        if timer is not None:
            timer.cancel()
    session.expiry_timer = session.will_timer = session.retry_timer = None
