"""A client that floods the broker does not keep the others waiting."""

from __future__ import annotations

import asyncio
from typing import Any

from broker.transport.tcp import FULL_READ, TcpConnection


class Flood(asyncio.Transport):
    """A transport that notes when reading is paused and resumed."""

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
    def received(self, data: bytes) -> None: ...


def connection() -> tuple[TcpConnection, Flood]:
    accept: Any = lambda link, transport: Channel()  # noqa: E731
    made, transport = TcpConnection(accept), Flood()
    made.connection_made(transport)
    return made, transport


async def test_a_full_read_ends_the_turn_and_the_next_round_goes_on() -> None:
    flooded, transport = connection()
    flooded.data_received(bytes(FULL_READ))
    assert not transport.reading
    await asyncio.sleep(0)
    assert transport.reading


async def test_a_small_read_goes_on() -> None:
    calm, transport = connection()
    calm.data_received(bytes(100))
    assert transport.reading


async def test_a_channel_that_wants_no_more_is_not_overruled() -> None:
    held, transport = connection()
    held.data_received(bytes(FULL_READ))
    held.pause_reading()
    await asyncio.sleep(0)
    assert not transport.reading
    held.data_received(bytes(FULL_READ))
    await asyncio.sleep(0)
    assert not transport.reading
    held.resume_reading()
    assert transport.reading
