"""The effects of an outage: connections are cut and state is lost without DISCONNECT, will or event."""

from __future__ import annotations

from ..session.session import Session
from .channel import Channel
from .disconnect import cancel_departure, detach
from .engine import Engine
from .failures import LoginFailures


def cut(engine: Engine, channel: Channel) -> None:
    """End the connection as a power cut does; its session stays as it is, only without a connection."""
    detach(engine, channel)
    channel.link.abort()


def forget_session(engine: Engine, session: Session) -> None:
    """Remove the session as if it had never existed."""
    if session.channel is not None:
        cut(engine, session.channel)
    cancel_departure(session)
    if session.keeper is not None:
        session.keeper.ended()
        session.keeper = None
    for topic_filter in session.subscriptions:
        engine.router.unsubscribe(session, topic_filter)
    session.subscriptions.clear()
    engine.sessions.remove(session)


def forget_everything(engine: Engine) -> None:
    """Forget every connection, session, retained message and failed login."""
    for channel in list(engine.channels):
        cut(engine, channel)
    for session in engine.sessions:
        forget_session(engine, session)
    engine.retained.clear()
    engine.failures = LoginFailures()
