"""Sockets of clients, passed from one process to another."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pybroker.broker.cluster.handover import Handover
from tests.waiting import DEADLINE, until


class End:
    """One process: what it was handed."""

    def __init__(self, folder: Path, index: int) -> None:
        self.taken: list[tuple[socket.socket, dict[str, Any], bytes]] = []
        self.handover = Handover(folder, index, lambda *one: self.taken.append(one))

    def close(self) -> None:
        self.handover.close()
        for connection, _, _ in self.taken:
            connection.close()


@pytest.fixture
async def ends(tmp_path: Path) -> AsyncIterator[list[End]]:
    made = [End(tmp_path, index) for index in range(2)]
    made[0].handover.open()
    yield made
    for end in made:
        end.close()


def fail() -> None:
    raise AssertionError("it was not taken")


async def test_what_the_client_sends_and_gets_is_the_others(ends: list[End]) -> None:
    ends[1].handover.open()
    client, ours = socket.socketpair()
    ends[0].handover.pass_on(1, ours, {"peer": "p"}, b"first", DEADLINE, fail)
    await until(lambda: ends[1].taken)
    taken, facts, first = ends[1].taken[0]
    assert (facts, first) == ({"peer": "p"}, b"first")
    client.send(b"more")
    assert taken.recv(10) == b"more"
    taken.send(b"answer")
    assert client.recv(10) == b"answer"
    client.close()


async def test_many_and_large_ones_keep_their_order(ends: list[End]) -> None:
    ends[1].handover.open()
    clients = []
    for n in range(300):
        client, ours = socket.socketpair()
        clients.append(client)
        ends[0].handover.pass_on(1, ours, {"n": n}, b"x" * (500_000 if n % 50 == 0 else n), DEADLINE, fail)
    await until(lambda: len(ends[1].taken) == 300)
    for n, (client, (taken, facts, first)) in enumerate(zip(clients, ends[1].taken, strict=True)):
        assert facts == {"n": n}
        assert len(first) == (500_000 if n % 50 == 0 else n)
        client.send(b"%d" % n)
        assert taken.recv(10) == b"%d" % n
        client.close()


async def test_they_wait_for_a_process_that_is_not_there_yet(ends: list[End]) -> None:
    client, ours = socket.socketpair()
    ends[0].handover.pass_on(1, ours, {}, b"first", DEADLINE, fail)
    await asyncio.sleep(0.05)
    ends[1].handover.open()
    await until(lambda: ends[1].taken)
    client.close()


async def test_whoever_passes_one_on_is_told_where_nobody_takes_it(ends: list[End]) -> None:
    client, ours = socket.socketpair()
    told = asyncio.Event()
    ends[0].handover.pass_on(1, ours, {}, b"first", 0.05, told.set)
    async with asyncio.timeout(DEADLINE):
        await told.wait()
    ours.send(b"still ours")
    assert client.recv(20) == b"still ours"
    client.close()
    ours.close()
