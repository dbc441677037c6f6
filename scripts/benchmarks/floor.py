"""The least that a broker on uvloop can cost: bytes are read, and written to one other client as they are.

Of MQTT it knows what the load generator needs: it answers CONNECT and SUBSCRIBE of 3.1.1, and looks at the
topic of each connection's first PUBLISH. All that follows on that connection goes to the topic's subscriber.

    python scripts/benchmarks/floor.py PORT
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import cast

import uvloop

CONNECT, PUBLISH, SUBSCRIBE = 0x10, 0x30, 0x82
CONNACK, SUBACK = b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00"


class Forwarder(asyncio.Protocol):
    """One connection."""

    subscribers: dict[bytes, asyncio.Transport]

    def __init__(self, subscribers: dict[bytes, asyncio.Transport]) -> None:
        self.subscribers = subscribers
        self.forward: Callable[[bytes], None] = self.begin
        """What is done with the bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.forward(data)

    def begin(self, data: bytes) -> None:
        """Answer the first packets."""
        if data[0] == CONNECT:
            self.transport.write(CONNACK)
        elif data[0] == SUBSCRIBE:
            packet_id = 2
            self.subscribers[string_at(data, body_of(data) + packet_id)] = self.transport
            self.transport.write(SUBACK)
        elif data[0] & 0xF0 == PUBLISH:
            self.forward = self.subscribers[string_at(data, body_of(data))].write
            self.forward(data)


def body_of(data: bytes) -> int:
    """Where the packet goes on after its length."""
    at = 1
    while data[at] & 0x80:
        at += 1
    return at + 1


def string_at(data: bytes, at: int) -> bytes:
    size = int.from_bytes(data[at : at + 2])
    return data[at + 2 : at + 2 + size]


async def serve(port: int) -> None:
    subscribers: dict[bytes, asyncio.Transport] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Forwarder(subscribers), "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
