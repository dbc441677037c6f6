"""The client against a broker that is played here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pybroker.broker.client.client import WAITING, Client, ClientError, Login
from pybroker.broker.client.stream import Place
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import Connack
from tests.waiting import DEADLINE

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CONNACK = encode(Connack(False, 0), 4)


def against(play: Play, work: Callable[[Client], Awaitable[None]], login: Login | None = None) -> None:
    """Connect to a broker that answers CONNECT and then does ``play``."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK)
        await play(reader, writer)

    async def both() -> None:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        async with asyncio.timeout(DEADLINE):
            port = server.sockets[0].getsockname()[1]
            client = await Client.connect(Place("127.0.0.1", port), login or Login("c"))
            try:
                await work(client)
            finally:
                await client.disconnect()
        server.close()

    asyncio.run(both())


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        pass
    writer.close()


async def _gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def test_a_silent_broker_is_found_out() -> None:
    async def work(client: Client) -> None:
        with pytest.raises(ClientError, match="does not answer a PINGREQ"):
            async for _ in client.messages():
                pass
        with pytest.raises(ClientError, match="does not answer a PINGREQ"):
            await client.publish("a", b"x")

    against(_silent, work, Login("c", keepalive=1))


@pytest.mark.parametrize("qos", [1, 2])
def test_a_publish_that_the_broker_does_not_answer(qos: int) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(ClientError, match="closed the connection"):
            await client.publish("a", b"x", qos)

    against(_gone, work)


def test_nothing_is_read_while_too_much_waits() -> None:
    payload = bytes(1 << 20)
    sent = 4 * WAITING // len(payload)

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(sent):
            writer.write(encode(make_publish(f"a/{number}", payload), 4))
            await writer.drain()
        await _silent(reader, writer)

    async def work(client: Client) -> None:
        while client.waiting <= WAITING:
            await asyncio.sleep(0)
        for _ in range(1000):  # turns in which a client that reads on would take more
            await asyncio.sleep(0)
        assert client.waiting < WAITING + 2 * len(payload)
        topics = []
        async for message in client.messages():
            topics.append(message.topic)
            if len(topics) == sent:
                break
        assert topics == [f"a/{number}" for number in range(sent)]
        assert client.waiting == 0

    against(flood, work)
