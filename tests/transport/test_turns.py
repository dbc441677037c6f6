"""A client that floods the broker does not keep the others waiting."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from pybroker.broker.counters import Counters
from pybroker.broker.transport.tcp import FEW, SHORT_TURNS, SHORTER, TURN, TcpConnection
from pybroker.broker.transport.websocket import WebSocketConnection


class Socket(asyncio.Transport):
    """A transport that notes whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

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
        self.closed = False
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


async def test_turns_are_shorter_while_somebody_else_sends_a_little() -> None:
    flooded, _, channel = connection()
    counters = channel.engine.counters
    lengths = []
    for turn in range(6 * SHORT_TURNS):
        if not flooded._waiting:
            flooded.data_received(FLOOD[: 3 * TURN])
        if turn in (10, 22):
            counters.packets_received += 1
        if turn == 4 * SHORT_TURNS:
            counters.packets_received += FEW
        await turns(1)
        lengths.append(len(channel.pieces[-1]))
    short = [at for at, length in enumerate(lengths) if length == TURN // SHORTER]
    assert short == list(range(10, 22 + SHORT_TURNS))
    assert {length for at, length in enumerate(lengths) if at not in short} == {TURN}


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


def websocket() -> tuple[WebSocketConnection, Socket, Channel]:
    """One whose handshake is done."""
    channel: Any = Channel()
    channel.client = object()
    made, socket = WebSocketConnection(lambda link, transport: channel, "*", 1 << 20), Socket()
    made.connection_made(socket)
    key = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    more = "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n"
    last = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    made.data_received((key + more + last).encode())
    channel.pieces.clear()
    return made, socket, channel


async def test_the_pings_of_a_websocket_are_answered_in_turns() -> None:
    flooded, socket, _ = websocket()
    answered = len(socket.written)
    flooded.data_received(b"\x89\x80\0\0\0\0" * 20_000)
    assert not socket.reading
    await turns(1)
    assert 0 < len(socket.written) - answered < 2_000
    await turns(100)
    assert len(socket.written) - answered == 2 * 20_000
    assert socket.reading


async def test_pings_are_not_answered_once_the_client_is_sent_away() -> None:
    """It is waited for a while, and may flood all that time."""
    flooded, socket, channel = websocket()
    channel.closed = True
    flooded.close()
    answered = len(socket.written)
    flooded.data_received(b"\x89\x80\0\0\0\0" * 20_000)
    await turns(100)
    assert len(socket.written) == answered
    assert socket.reading


async def test_large_frames_of_a_websocket_are_not_cut_up_for_it() -> None:
    busy, _, channel = websocket()
    channel.packets = 1
    frame = b"\x82\xff" + (200_000).to_bytes(8) + bytes(4) + bytes(200_000)
    busy.data_received(frame)
    await turns(3)
    assert b"".join(channel.pieces) == bytes(200_000)
