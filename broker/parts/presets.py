"""The part for `preset.session`: makes sessions that queue messages before their client first connects."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from ..config.settings import PresetSession, Settings
from ..engine.engine import Engine
from ..engine.offline import add_offline_session
from ..engine.retained import send_retained
from ..engine.subscribe import add_subscription
from ..part import Part
from ..routing.subscription import Subscription

NEVER_RETAINED = 2
"""The retain handling without retained messages."""


class Presets(Part):
    """Makes the sessions at the start, before the first client connects."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._presets = settings.presets

    async def start(self) -> None:
        add_preset_sessions(self._engine, self._presets)


def add_preset_sessions(engine: Engine, presets: Iterable[PresetSession]) -> None:
    """Create the sessions that do not exist yet. A new session stays until its client connects. Each gets the
    subscriptions that it does not have yet."""
    for preset in presets:
        session = engine.sessions.get(preset.clientid) or add_offline_session(engine, preset.clientid, inf)
        for wanted in preset.subscriptions:
            if wanted.topic in session.subscriptions:
                continue
            subscription = Subscription(
                wanted.topic,
                min(wanted.qos, engine.mqtt.max_qos),
                retain_as_published=wanted.retain_as_published,
                retain_handling=wanted.retain_handling,
            )
            add_subscription(engine, session, subscription)
            if wanted.retain_handling != NEVER_RETAINED:
                send_retained(engine, session, subscription)
