"""The state machine of the conformance tests, with a broker that is stopped or killed between two steps."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from pybroker.broker.state.storage import DiskStorage
from pybroker.broker.storage import journal
from tests.conformance.test_delivery import Delivery, run
from tests.harness import Broker

from .kept import Kept

ROUNDS = 30
"""Of the event loop: more than a commit and a fetch take, as no thread has to be waited for."""


class KeptDelivery(Delivery):
    @initialize(cache=st.sampled_from((0, 1, 3, 1000)))
    def choose(self, cache: int) -> None:
        """Before or after the broker is made, as it comes."""
        self.cache = cache

    def make_broker(self, **mqtt: int) -> Broker:
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="pybroker-"))
        self.mqtt = mqtt
        self.copies = 0
        self.kept = Kept(self.directory / "state", disk_cache_size=getattr(self, "cache", 3))
        return self.result(self.kept.start(**mqtt))

    @rule()
    def work(self) -> None:
        """Let commits and fetches happen that are due."""

        async def rounds() -> None:
            for _ in range(ROUNDS):
                await asyncio.sleep(0)

        self.result(rounds())

    @rule(eager=st.booleans())
    def restart(self, eager: bool) -> None:
        self.lose_connections()
        self.go_on(self.result(self.kept.restart(**self.mqtt)), eager)

    @rule(eager=st.booleans())
    def kill(self, eager: bool) -> None:
        """What the files hold at this moment is all there is."""
        self.copies += 1
        copy = self.directory / str(self.copies)
        shutil.copytree(self.kept.settings.path, copy)
        self.lose_connections()
        self.result(self.kept.stop())
        self.kept.settings = replace(self.kept.settings, path=copy)
        self.go_on(self.result(self.kept.start(**self.mqtt)), eager)

    def teardown(self) -> None:
        if not hasattr(self, "broker"):
            return
        try:
            super().teardown()
        finally:
            self.result(self.kept.stop())
            self.loop.close()
            shutil.rmtree(self.directory)

    def flow(self, peer: Any) -> None:
        super().flow(peer)
        self.work()

    def broker_is_at_work(self) -> bool:
        return any(session.queue is not None for session in self.broker.engine.sessions)

    def lose_connections(self) -> None:
        for peer in (self.publisher, self.subscriber):
            if peer.connected:
                peer.cut()

    def go_on(self, broker: Broker, eager: bool) -> None:
        self.broker = broker
        for peer in (self.publisher, self.subscriber):
            peer.broker = broker
            peer.connect(eager)

    def result(self, awaitable: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(awaitable)  # type: ignore[arg-type]


async def _at_once(self: DiskStorage, thread: object, work: Callable[[], Any]) -> Any:
    return work()


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that each run can be repeated; and small files, which are quickly copied."""
    monkeypatch.setattr(DiskStorage, "_in", _at_once)
    monkeypatch.setattr(journal, "HALF", journal.SMALLEST_HALF)


def test_nothing_is_lost_doubled_or_out_of_order_over_restarts() -> None:
    run(examples=25, steps=40, machine=KeptDelivery)


@pytest.mark.slow
def test_nothing_is_lost_doubled_or_out_of_order_over_restarts_at_length() -> None:
    run(examples=500, steps=100, machine=KeptDelivery)
