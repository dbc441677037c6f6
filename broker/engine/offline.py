"""Sessions that exist before their client connects."""

from __future__ import annotations

from math import inf

from ..events import Client
from ..session.session import Session
from .disconnect import expiry_seconds, outlive
from .engine import Engine


def add_offline_session(engine: Engine, client_id: str, expiry: float | None = None) -> Session:
    """Make a session as if its client had just disconnected: it queues messages, and expires after ``expiry``
    seconds (None: as configured)."""
    session = Session(Client(client_id, clean_start=False))
    if expiry is None:
        expiry = expiry_seconds(engine, int(engine.mqtt.session_expiry)) or inf
    session.expiry = expiry
    engine.sessions.add(session)
    if engine.storage is not None:
        engine.storage.bound(session)
    outlive(engine, session, "")
    return session
