"""``kill -9`` in the middle of a burst, again and again: what was acknowledged is delivered, in order."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import pytest

from pybroker.webhook import Retry, Rule, Sink, Spool
from tests.waiting import until

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


CONFIGURATION = """
listeners.tcp {{ bind = "127.0.0.1:0" }}
log {{ to = [file], level = warn, dir = "{directory}", file = "broker.log" }}
webhook {{
  url = "{url}"
  order = client
  retry {{ max_attempts = 1000, first = 1ms, max = 10ms }}
  spool {{ path = "{directory}/spool" }}
  events = [ {{ event = "on_message_publish" }} ]
}}
"""


async def test_the_broker_is_killed_in_a_burst(receiver: Receiver, tmp_path: Path) -> None:
    """What a publisher at QoS 1 has a PUBACK for reaches the endpoint."""
    rng = random.Random(11)
    configuration = tmp_path / "nanomq.conf"
    configuration.write_text(CONFIGURATION.format(directory=tmp_path, url=receiver.url))
    acknowledged: set[int] = set()
    published = 0
    receiver.default = 503  # nothing is taken until the last round
    for round in range(4):
        process, port = await broker(configuration, tmp_path / f"ready{round}")
        client = Publisher(*await asyncio.open_connection("127.0.0.1", port))
        await client.connect()
        for _ in range(rng.randint(1, 15)):
            client.publish(range(published, published + 100))
            published += 100
            acknowledged |= await client.acknowledged()
        process.kill()
        acknowledged |= await client.acknowledged(to_the_end=True)
        await process.wait()

    receiver.requests.clear()
    receiver.default = 200
    process, _ = await broker(configuration, tmp_path / "last")
    numbers: list[int] = []
    missing = set(acknowledged)

    def all_have_come() -> bool:
        come = [int(request.json["payload"]) for request in receiver.requests[len(numbers) :]]
        numbers.extend(come)
        missing.difference_update(come)
        return not missing

    try:
        await until(all_have_come)
    finally:
        process.terminate()
        await process.wait()
    assert acknowledged
    assert numbers == sorted(numbers)


async def broker(configuration: Path, ready: Path) -> tuple[asyncio.subprocess.Process, int]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pybroker", "start", "--conf", configuration, "--ready-file", ready),
        stdout=asyncio.subprocess.DEVNULL,
    )
    await until(lambda: ready.exists() or process.returncode is not None)
    return process, json.loads(ready.read_text())["listeners"][0]["port"]


class Publisher:
    """Just enough MQTT to publish numbers at QoS 1 and read the PUBACKs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._number_of: dict[int, int] = {}

    async def connect(self) -> None:
        body = b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x06killer"
        self._writer.write(bytes([0x10, len(body)]) + body)
        assert (await self._reader.readexactly(4))[3] == 0

    def publish(self, numbers: range) -> None:
        for number in numbers:
            packet_id = number % 60_000 + 1
            self._number_of[packet_id] = number
            body = b"\x00\x01t" + packet_id.to_bytes(2, "big") + str(number).encode()
            self._writer.write(bytes([0x32, len(body)]) + body)

    async def acknowledged(self, to_the_end: bool = False) -> set[int]:
        """The numbers whose PUBACK has come; what the last read brought, or all that came before the end."""
        data = b""
        while to_the_end or not data or len(data) % 4:
            try:
                chunk = await self._reader.read(65536)
            except ConnectionError:
                break
            if not chunk:
                break
            data += chunk
        acks = [data[start : start + 4] for start in range(0, len(data) - 3, 4)]
        assert all(ack[:2] == b"\x40\x02" for ack in acks)
        return {self._number_of[int.from_bytes(ack[2:], "big")] for ack in acks}
