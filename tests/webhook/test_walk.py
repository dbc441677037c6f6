"""A spooled endpoint on a walk of random steps: reloads, restarts, kills, a full disk, failures.

Wherever it leads: nothing is lost, nothing is stuck, the order holds, and the counters add up.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import shutil
from pathlib import Path

import pytest

from pybroker.broker import events
from pybroker.broker.storage.journal import SMALLEST_HALF
from pybroker.webhook import Batch, Retry, Rule, Sink, Spool, WebhookSettings
from pybroker.webhook.spool.store import Store
from tests.waiting import until

from .conftest import drained
from .recorder import Recorded, Recorder
from .samples import endpoint

WALKS = 16
CLIENTS = 3


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little fits anywhere, so that few events meet every bound."""
    monkeypatch.setattr("pybroker.broker.storage.journal.HALF", SMALLEST_HALF)
    for name, value in (("COMMIT_INTERVAL", 0.02), ("RETRY_INTERVAL", 0.02), ("TIDY_INTERVAL", 0.05)):
        monkeypatch.setattr(f"pybroker.webhook.spool.spool.{name}", value)
    monkeypatch.setattr("pybroker.webhook.spool.spool.READ_AT_ONCE", 40)


class Walk:
    def __init__(self, rng: random.Random, path: Path) -> None:
        self._rng = rng
        self._spools = [path / str(number) for number in range(100)]
        self._order = rng.choice(["client", "none"])
        self._recorder = Recorder(self._answer)
        self._failing = 0.3
        self.offered = 0
        self.dropped = 0
        self.ordered = self._order == "client"
        self.taken: list[int] = []
        """The numbers of the events that the endpoint took, in the order they came."""
        self.ids: dict[int, set[str]] = {}

    async def start(self) -> None:
        self._settings = self._random_settings()
        await self._begin()

    async def _begin(self) -> None:
        self.sink = Sink([self._settings], transport=self._recorder)
        await self.sink.start()

    def _random_settings(self) -> WebhookSettings:
        choose = self._rng.choice
        return endpoint(
            "memory:",
            Rule("on_message_publish"),
            spool=Spool(self._spools[0], max_age=1e9, fsync=choose(["always", "interval"])),
            order=self._order,
            batch=choose([Batch(), Batch(7, 0.005), Batch(10, 0), Batch(30, 0.01)]),
            pool_size=choose([1, 2, 8]),
            queue_max_events=choose([10, 50, 100_000]),
            breaker_failures=choose([1, 5, 1000]),
            retry=Retry(1_000_000, 0.0005, 0.003, 1e9),
            cancel_timeout=0.2,
        )

    async def _answer(self, request: Recorded) -> int:
        await asyncio.sleep(self._rng.choice([0, 0, 0.001]))
        if self._rng.random() < self._failing:
            return 503
        body = request.json
        numbers = [int(item["payload"]) for item in (body if isinstance(body, list) else [body])]
        self.taken += numbers
        if isinstance(body, dict):
            self.ids.setdefault(numbers[0], set()).add(request.id)
        return 200

    # ---- steps

    async def step(self) -> None:
        await self._offer(self._rng.randint(0, 150))
        self._failing = self._rng.choice([0, 0.3, 1])
        steps = self._reload, self._reload, self._restart, self._kill, self._full_disk, self._pause
        await self._rng.choice(steps)()
        assert self.sink.stats()[0].adds_up

    async def _offer(self, count: int) -> None:
        for number in range(self.offered, self.offered + count):
            client = events.Client(f"c{number % CLIENTS}")
            self.sink.offer(
                events.MessagePublished(
                    at=1.7e9 + number,
                    topic="t",
                    payload=str(number).encode(),
                    qos=1,
                    retain=False,
                    publisher=client,
                )
            )
            if self._rng.random() < 0.05:
                await self._pause()
        self.offered += count

    async def _pause(self) -> None:
        await asyncio.sleep(self._rng.choice([0, 0.001, 0.004, 0.03]))

    async def _reload(self) -> None:
        self._settings = self._random_settings()
        reloading = asyncio.create_task(self.sink.replace([self._settings]))
        await self._offer(self._rng.randint(0, 30))
        await reloading

    async def _restart(self) -> None:
        await self._end()
        await self._begin()

    async def _kill(self) -> None:
        """The broker goes on with the files as they are at this moment."""
        backlog = self.sink._endpoints[0]._backlog
        await until(lambda: not (backlog._commit or backlog._changes.unjournaled))
        spool = self._spools.pop(0)
        shutil.copytree(spool, self._spools[0])
        await self._end()
        self._settings = dataclasses.replace(
            self._settings, spool=dataclasses.replace(self._settings.spool, path=self._spools[0])
        )
        await self._begin()

    async def _full_disk(self) -> None:
        database = self.sink._endpoints[0]._backlog._store.db
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        await self._offer(self._rng.randint(0, 100))
        await self._pause()
        database.execute("PRAGMA max_page_count = 1000000")

    async def _end(self) -> None:
        left = await self.sink.stop(0)
        assert all(one.spooled for one in left)
        self._count_dropped()

    def _count_dropped(self) -> None:
        self.dropped += self.sink.stats()[0].dropped_full

    async def arrive(self) -> None:
        self._failing = 0
        await drained(self.sink)
        assert await self.sink.stop(0) == []
        self._count_dropped()
        store = Store(self._spools[0] / "webhook.db")
        assert store.waiting() == (0, 0)
        store.close()


@pytest.mark.parametrize("seed", range(WALKS))
async def test_wherever_it_leads(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    walk = Walk(rng, tmp_path)
    await walk.start()
    for _ in range(rng.randint(3, 10)):
        await walk.step()
    await walk.arrive()

    assert len(set(range(walk.offered)) - set(walk.taken)) <= walk.dropped
    assert all(len(ids) == 1 for ids in walk.ids.values())
    stats = walk.sink.stats()[0]
    assert stats.adds_up
    assert (stats.queued, stats.queued_bytes, stats.spooled_bytes) == (0, 0, 0)
    first_times = list(dict.fromkeys(walk.taken))
    for client in range(CLIENTS if walk.ordered else 0):
        mine = [number for number in first_times if number % CLIENTS == client]
        assert mine == sorted(mine)
