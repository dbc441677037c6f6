"""What every bus promises, whatever carries its frames."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pybroker.broker.cluster.bus import Bus, Transmit
from pybroker.broker.cluster.mesh import Mesh
from pybroker.broker.cluster.nats import NatsBus
from pybroker.broker.outgoing.nats import NatsServers
from tests.waiting import DEADLINE

from .memory import Ways

NAMES = ["0", "1", "2"]
MakeBus = Callable[[int], Bus]


class Node:
    """Keeps what the bus says."""

    def __init__(self) -> None:
        self.ways: dict[str, Transmit] = {}
        self.frames: list[tuple[str, bytes]] = []
        self.ups = self.downs = 0

    def up(self, peer: str, transmit: Transmit) -> None:
        self.ups += 1
        self.ways[peer] = transmit

    def down(self, peer: str) -> None:
        self.downs += 1
        del self.ways[peer]

    def received(self, peer: str, frame: bytes) -> None:
        self.frames.append((peer, frame))

    def alone(self, is_alone: bool) -> None: ...


@pytest.fixture(params=["memory", "mesh", "nats"])
def bus(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[MakeBus, Callable[[], Awaitable[None]]]:
    """Makes the bus of a node, of three, and delivers what is under way."""
    if request.param == "memory":
        ways = Ways()

        async def deliver() -> None:
            ways.deliver()

        return ways.bus, deliver

    async def pass_on() -> None:
        await asyncio.sleep(0)

    if request.param == "nats":
        server = request.getfixturevalue("nats")
        servers = NatsServers([server.url], "cluster")
        name = secrets.token_hex(4)
        return lambda index: NatsBus(servers, name, str(index)), pass_on

    return lambda index: Mesh(tmp_path, str(index), NAMES), pass_on


async def until(condition: Callable[[], Any], deliver: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await deliver()
            await asyncio.sleep(0.001)


Two = tuple[MakeBus, Callable[[], Awaitable[None]]]


async def test_nodes_find_each_other_in_any_order(bus: Two) -> None:
    make, deliver = bus
    nodes, buses = [Node() for _ in range(3)], [make(index) for index in range(3)]
    for index in (2, 0, 1):
        await buses[index].open(nodes[index])
    await until(lambda: all(len(node.ways) == 2 for node in nodes), deliver)
    for one in buses:
        await one.close()


async def test_frames_come_whole_and_in_order(bus: Two) -> None:
    make, deliver = bus
    nodes, buses = [Node() for _ in range(2)], [make(index) for index in range(2)]
    for index in range(2):
        await buses[index].open(nodes[index])
    await until(lambda: all(node.ways for node in nodes), deliver)
    frames = [b"", b"x", bytes(100_000), b"y" * 3_000_000, *(b"%d" % n for n in range(1000))]
    for frame in frames:
        nodes[0].ways["1"](frame)
        nodes[1].ways["0"](frame)
    await until(lambda: all(len(node.frames) == len(frames) for node in nodes), deliver)
    assert nodes[1].frames == [("0", frame) for frame in frames]
    assert nodes[0].frames == [("1", frame) for frame in frames]
    for one in buses:
        await one.close()


async def test_a_node_that_ends_is_down_and_another_in_its_place_is_found(bus: Two) -> None:
    make, deliver = bus
    nodes, buses = [Node() for _ in range(2)], [make(index) for index in range(2)]
    for index in range(2):
        await buses[index].open(nodes[index])
    await until(lambda: all(node.ways for node in nodes), deliver)
    for ends in (1, 0):
        stays, gone = nodes[1 - ends], nodes[ends]
        await buses[ends].close()
        await until(lambda stays=stays: not stays.ways, deliver)
        nodes[ends], buses[ends] = Node(), make(ends)
        await buses[ends].open(nodes[ends])
        await until(lambda stays=stays, ends=ends: stays.ways and nodes[ends].ways, deliver)
        stays.ways[str(ends)](b"hello")
        await until(lambda ends=ends: nodes[ends].frames == [(str(1 - ends), b"hello")], deliver)
        assert gone.frames == []
    for one in buses:
        await one.close()


async def test_who_does_not_say_who_it_is_is_sent_away(tmp_path: Path) -> None:
    node, mesh = Node(), Mesh(tmp_path, "0", NAMES)
    await mesh.open(node)
    for said in (b"\3\0\0\0abc", b"\2\0\0\0\7\0", b"\xff\xff\xff\xff"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "0.mesh")
        writer.write(said)
        async with asyncio.timeout(DEADLINE):
            assert await reader.read() == b""
        writer.close()
    assert not node.ways
    await mesh.close()
