"""``kill -9`` in the middle of a burst, again and again: what was acknowledged is delivered, in order."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import pytest

from webhook import Retry, Rule, Sink, Spool

from .conftest import drained
from .receiver import Receiver, answer
from .samples import endpoint

ROUNDS = 6


@pytest.mark.parametrize(("fsync", "batch"), [("interval", 1), ("always", 1), ("interval", 10)])
async def test_nothing_acknowledged_is_lost(
    receiver: Receiver, tmp_path: Path, fsync: str, batch: int
) -> None:
    rng = random.Random(7)
    taken: list[bytes] = []

    async def flaky(request):
        if rng.random() < 0.3:
            return await answer(503)(request)
        taken.append(receiver.requests[-1].body)
        return await answer(200)(request)

    receiver.default = flaky
    acknowledged: list[int] = []
    for _ in range(ROUNDS):
        first = str(len(acknowledged))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.webhook.killed", receiver.url, tmp_path, fsync, first, str(batch)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        wanted = rng.randint(1, 3000)
        for _ in range(wanted):
            acknowledged.append(int(await process.stdout.readline()))
        process.kill()
        acknowledged += [int(line) for line in (await process.stdout.read()).split()]
        await process.wait()

    receiver.default = 200
    left = len(receiver.requests)
    settings = endpoint(
        receiver.url,
        Rule("on_message_publish"),
        order="client",
        spool=Spool(tmp_path),
        retry=Retry(9, 0.001, 0.01, 1e9),
    )
    sink = Sink([settings])
    await sink.start()
    await drained(sink)
    await sink.stop(5)
    taken += receiver.bodies[left:]

    events = [event for body in taken for event in listed(json.loads(body))]
    numbers = [int(event["payload"]) for event in events]
    assert acknowledged == list(range(len(acknowledged)))
    assert not set(acknowledged) - set(numbers)
    assert not set(numbers) - {
        *acknowledged,
        len(acknowledged),
    }  # the last may have been killed unacknowledged
    for client in range(4):
        mine = [number for number in dict.fromkeys(numbers) if number % 4 == client]
        assert mine == sorted(mine)


def listed(body: object) -> list[dict[str, str]]:
    return body if isinstance(body, list) else [body]  # type: ignore[list-item]
