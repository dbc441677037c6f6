"""Brokers of the harness that keep their state."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from pybroker.broker.clock import ManualClock
from pybroker.broker.config.settings import Settings, SqliteSettings
from pybroker.broker.delivery.outbox import HoldingPending
from pybroker.broker.engine.engine import Engine
from pybroker.broker.parts.state import State
from tests.harness import Broker


class Kept:
    """Brokers of the harness that have one directory, one after another. Time goes on between them."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.settings = SqliteSettings(path, **settings)
        self.broker = Broker()
        self.state: State | None = None

    async def start(self, **mqtt: Any) -> Broker:
        broker = Broker(**mqtt)
        broker.clock = ManualClock(time=self.broker.clock.time())
        broker.engine = Engine(broker.clock, broker._spawn, broker.engine.mqtt, pending=HoldingPending())
        broker.engine.turns.now = lambda: 0.0  # no turn is over, however busy the machine is
        self.state = State(broker.engine, Settings(sqlite=self.settings))
        await self.state.start()
        self.state.set_off()
        self.broker = broker
        return broker

    async def stop(self) -> None:
        if self.state is not None:
            state, self.state = self.state, None
            assert await state.stop(None) == []
            self.broker.clock.stop()

    async def crash(self, copy: Path) -> Broker:
        """Go on with the files as they are at this moment."""
        shutil.copytree(self.settings.path, copy)
        await self.stop()
        self.settings = replace(self.settings, path=copy)
        return await self.start()

    async def restart(self, seconds: float = 0, **mqtt: Any) -> Broker:
        await self.stop()
        self.broker.clock.advance(seconds)
        return await self.start(**mqtt)
