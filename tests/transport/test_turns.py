"""A client that floods the broker does not keep the others waiting."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from pybroker.broker.counters import Counters
from pybroker.broker.transport.tcp import TURN, TcpConnection


class Socket(asyncio.Transport):
    """A transport that notes whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Channel:
    """Keeps what it gets, a piece a turn, as if it were so many packets."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.packets = 1000
        self.engine = SimpleNamespace(counters=Counters())

    def received(self, data: bytes) -> None:
        self.pieces.append(data)
        self.engine.counters.packets_received += self.packets

    def lost(self) -> None: ...


def connection() -> tuple[TcpConnection, Socket, Channel]:
    channel: Any = Channel()
    made, socket = TcpConnection(lambda link, transport: channel), Socket()
    made.connection_made(socket)
    return made, socket, channel


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


FLOOD = bytes(range(256)) * (TURN // 256 * 3) + b"rest"


async def test_a_large_read_is_handled_in_turns_and_nothing_is_read_meanwhile() -> None:
    flooded, socket, channel = connection()
    flooded.data_received(FLOOD)
    assert not socket.reading
    await turns(1)
    assert [len(piece) for piece in channel.pieces] == [TURN]
    assert not socket.reading
    await turns(3)
    assert b"".join(channel.pieces) == FLOOD
    assert socket.reading


async def test_large_packets_are_not_cut_up_for_it() -> None:
    busy, socket, channel = connection()
    channel.packets = 2
    busy.data_received(FLOOD)
    await turns(5)
    assert [len(piece) for piece in channel.pieces] == [TURN, len(FLOOD) - TURN]
    busy.data_received(FLOOD)
    await turns(5)
    assert channel.pieces[-1] == FLOOD
    channel.packets = 1000
    busy.data_received(FLOOD)
    await turns(5)
    busy.data_received(FLOOD)
    await turns(5)
    assert max(len(piece) for piece in channel.pieces[-4:]) == TURN
    assert socket.reading


async def test_what_comes_all_the_same_keeps_its_place() -> None:
    flooded, _, channel = connection()
    flooded.data_received(FLOOD)
    flooded.data_received(b"more")
    await turns(5)
    assert b"".join(channel.pieces) == FLOOD + b"more"


async def test_a_small_read_is_handled_at_once() -> None:
    calm, socket, channel = connection()
    calm.data_received(b"x")
    assert channel.pieces == [b"x"]
    assert socket.reading


async def test_a_channel_that_wants_no_more_is_not_overruled() -> None:
    held, socket, channel = connection()
    held.data_received(FLOOD)
    held.pause_reading()
    await turns(5)
    assert channel.pieces == []
    held.resume_reading()
    await turns(5)
    assert b"".join(channel.pieces) == FLOOD
    assert socket.reading


async def test_a_connection_that_is_lost_between_turns() -> None:
    lost, _, channel = connection()
    lost.data_received(FLOOD)
    await turns(1)
    lost.connection_lost(None)
    await turns(5)
    assert len(channel.pieces) == 1
