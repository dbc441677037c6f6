"""The page's stream of events, of a broker of several processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import aiohttp

from tests.waiting import DEADLINE

from ..integration.clients import connected
from ..integration.support import RunningBroker
from .test_http import HTTP
from .test_workers import name_for, workers_of

Start = Callable[..., RunningBroker]


async def events(answer: aiohttp.ClientResponse, count: int, *kinds: str) -> list[tuple[str, Any]]:
    """The next events of these kinds."""
    found: list[tuple[str, Any]] = []
    kind = ""
    async with asyncio.timeout(DEADLINE):
        while len(found) < count:
            line = (await answer.content.readline()).decode().rstrip("\n")
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind in kinds:
                found.append((kind, json.loads(line.removeprefix("data: "))))
    return found


async def test_messages_of_all_workers_are_shown(start_broker: Start) -> None:
    broker = start_broker(HTTP, "--workers", "3")
    ids = [name_for(n) for n in range(3)]
    with ExitStack() as stack:
        clients = [await asyncio.to_thread(stack.enter_context, connected(broker.port, one)) for one in ids]
        async with (
            aiohttp.ClientSession() as http,
            http.get(broker.facts["page"] + "events?topic=t/%23") as answer,
        ):
            for one, client in zip(ids, clients, strict=True):
                await asyncio.to_thread(client.publish_and_wait, "other", "x", 1)
                await asyncio.to_thread(client.publish_and_wait, f"t/{one}", "x" * 100_000, 1)
            found = await events(answer, 3, "message")
            assert sorted(one["topic"] for _, one in found) == sorted(f"t/{one}" for one in ids)
            assert all(len(one["payload"]) == 16_384 for _, one in found)


async def test_a_worker_that_does_not_answer_is_named(start_broker: Start) -> None:
    broker = start_broker(HTTP, "--workers", "2")
    async with aiohttp.ClientSession() as http, http.get(broker.facts["page"] + "events") as answer:
        os.kill(workers_of(broker)[1], signal.SIGKILL)
        found = await events(answer, 2, "worker")
        assert [one for _, one in found] == [
            {"worker": 2, "answers": False},
            {"worker": 2, "answers": True},
        ]
        with ExitStack() as stack:
            client = await asyncio.to_thread(stack.enter_context, connected(broker.port, name_for(1, 2)))
            await asyncio.to_thread(client.publish_and_wait, "t", "x", 1)
            assert (await events(answer, 1, "message"))[0][1]["topic"] == "t"
