"""`scripts/bench persistence`: the cost of `sqlite {}`, beside mosquitto with `persistence true`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .brokers import KINDS, Running, free_port, pybroker_command, started, variant
from .measure import Values, working_directory
from .process import resident_mib
from .results import Results

SECTION = "persistence"
PAIRS, PUBLISHERS, WINDOW = 10, 50, 20
PAYLOAD = b"x" * 100
QUEUE = "mqtt { max_mqueue_len = 10000000 }"
LIMITS = "limits { max_queued_bytes = 4GB }"
STATE = 'sqlite {{ mounted_file_path = "{directory}/state", sync = {sync} }}'
PYBROKER = {"off": None, "interval": "interval", "always": "always"}
"""A measurement, and its `sqlite.sync`."""
MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
connection_messages false
persistence true
persistence_location {directory}/
user root
"""
CASES = (*PYBROKER, "mosquitto")


def measure(results: Results, messages: int, queued: int) -> None:
    results.begin(SECTION, [KINDS["plain"], KINDS["mosquitto"]])
    for case in CASES:
        if case == "mosquitto" and KINDS["mosquitto"].missing():
            print("note: mosquitto is not on the PATH", flush=True)
            continue
        for row, run in (
            ("pairs", lambda case=case: _pairs(case, messages)),
            ("publishers", lambda case=case: _publishers(case, messages)),
            ("queue", lambda case=case: _queue(case, queued)),
        ):
            if row == "queue" and case == "off":
                continue
            results.forget(SECTION, f"{row} {case}")
            values = run()
            results.add(SECTION, f"{row} {case}", "pybroker", values)
            print(f"{row}, {case}: " + "  ".join(f"{k} {v}" for k, v in values.items()), flush=True)


@contextmanager
def _broker(case: str, directory: Path) -> Iterator[Running]:
    if case == "mosquitto":
        port = free_port()
        conf = directory / "mosquitto.conf"
        conf.write_text(MOSQUITTO.format(port=port, directory=directory))
        command: Sequence[str] = ["mosquitto", "-c", str(conf)]
    else:
        port, sync = 0, PYBROKER[case]
        state = [] if sync is None else [STATE.format(directory=directory, sync=sync)]
        conf = variant(directory, "webhook.enable = false", QUEUE, LIMITS, *state)
        command = pybroker_command(directory, conf)
    with started(case, command, directory, port) as broker:
        yield broker


def _pairs(case: str, messages: int) -> Values:
    """QoS 1 from publishers to subscribers whose sessions are kept."""
    with working_directory() as directory, _broker(case, directory) as broker:
        return asyncio.run(_run_pairs(broker.port, messages // PAIRS))


def _publishers(case: str, messages: int) -> Values:
    """QoS 1 from many publishers to one session that is away: each message has to be kept."""
    with working_directory() as directory, _broker(case, directory) as broker:
        return asyncio.run(_run_publishers(broker.port, messages // PUBLISHERS))


def _queue(case: str, messages: int) -> Values:
    """Messages for a session that is away, a stop, a start, and the delivery of the messages."""
    with working_directory() as directory:
        with _broker(case, directory) as broker:
            values = asyncio.run(_run_publishers(broker.port, messages // PUBLISHERS))
            memory = resident_mib(broker.pid)
            began = time.monotonic()
            broker.stop()
            stopped = time.monotonic() - began
        began = time.monotonic()
        with _broker(case, directory) as broker:
            ready = time.monotonic() - began
            seconds = asyncio.run(_drain(broker.port, messages // PUBLISHERS * PUBLISHERS))
        return {
            "queued_per_s": values["rate"],
            "mib": round(memory),
            "stop_s": round(stopped, 2),
            "start_s": round(ready, 2),
            "delivered_per_s": round(messages / seconds),
        }


class Peer(asyncio.Protocol):
    """A client that sends and counts. Its packets have at most 127 bytes."""

    def __init__(self, client_id: str, topic: str, keeps: bool) -> None:
        self.client_id, self.topic, self.keeps = client_id.encode(), topic.encode(), keeps
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = self.unanswered = self.received = self.wanted = 0
        self.waits: list[float] = []
        self._sent_at: list[float] = []
        self._packet_id = 0
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        flags = b"\x00" if self.keeps else b"\x02"
        self.write(0x10, b"\x00\x04MQTT\x04" + flags + b"\x00\x00" + _text(self.client_id))

    def write(self, first: int, body: bytes) -> None:
        self.transport.write(bytes((first, len(body))) + body)

    def subscribe(self) -> None:
        self.ready = asyncio.get_running_loop().create_future()
        self.write(0x82, b"\x00\x01" + _text(self.topic) + b"\x01")

    def publish(self, count: int) -> None:
        self.left = self.unanswered = count
        self._send(WINDOW)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        position, acknowledged, answers = 0, 0, []
        while position + 2 <= len(data):
            first, length = data[position], data[position + 1]
            body = position + 2
            if length & 0x80:
                length, body = (
                    (length & 0x7F) + (data[position + 2] << 7 if body < len(data) else 0),
                    body + 1,
                )
            if body + length > len(data):
                break
            position = body + length
            if first == 0x40:
                acknowledged += 1
            elif first & 0xF0 == 0x30:
                at = body + 2 + int.from_bytes(data[body : body + 2])
                answers.append(b"\x40\x02" + data[at : at + 2])
            elif not self.ready.done():
                self.ready.set_result(None)
        self._rest = data[position:]
        if answers:
            self.transport.write(b"".join(answers))
            self.received += len(answers)
            if self.received >= self.wanted > 0 and not self.done.done():
                self.done.set_result(None)
        if acknowledged:
            now = time.perf_counter()
            self.waits += [now - at for at in self._sent_at[:acknowledged]]
            del self._sent_at[:acknowledged]
            self.unanswered -= acknowledged
            self._send(acknowledged)
            if not self.unanswered and not self.wanted and not self.done.done():
                self.done.set_result(None)

    def _send(self, count: int) -> None:
        count = min(count, self.left)
        self.left -= count
        packets = []
        for _ in range(count):
            self._packet_id = self._packet_id % 65535 + 1
            body = _text(self.topic) + self._packet_id.to_bytes(2) + PAYLOAD
            packets.append(bytes((0x32, len(body))) + body)
        self._sent_at += [time.perf_counter()] * count
        self.transport.write(b"".join(packets))


async def connect(port: int, client_id: str, topic: str, keeps: bool = False) -> Peer:
    loop = asyncio.get_running_loop()
    _, peer = await loop.create_connection(lambda: Peer(client_id, topic, keeps), "127.0.0.1", port)
    await peer.ready
    return peer


async def _run_pairs(port: int, each: int) -> Values:
    readers = [await connect(port, f"r{n}", f"b/{n}", keeps=True) for n in range(PAIRS)]
    for reader in readers:
        reader.subscribe()
        await reader.ready
        reader.wanted = each
    writers = [await connect(port, f"w{n}", f"b/{n}") for n in range(PAIRS)]
    return await _timed(writers, each, readers)


async def _run_publishers(port: int, each: int) -> Values:
    away = await connect(port, "away", "b", keeps=True)
    away.subscribe()
    await away.ready
    away.write(0xE0, b"")
    writers = [await connect(port, f"w{n}", "b") for n in range(PUBLISHERS)]
    return await _timed(writers, each, writers)


async def _timed(writers: Sequence[Peer], each: int, awaited: Sequence[Peer]) -> Values:
    began = time.perf_counter()
    for writer in writers:
        writer.publish(each)
    await asyncio.wait_for(asyncio.gather(*(peer.done for peer in awaited)), 300)
    seconds = time.perf_counter() - began
    waits = sorted(wait for writer in writers for wait in writer.waits)
    return {
        "rate": round(each * len(writers) / seconds),
        "p50_ms": round(waits[len(waits) // 2] * 1000, 2),
        "p99_ms": round(waits[len(waits) * 99 // 100] * 1000, 2),
    }


async def _drain(port: int, count: int) -> float:
    began = time.perf_counter()
    loop = asyncio.get_running_loop()

    def make() -> Peer:
        peer = Peer("away", "b", keeps=True)
        peer.wanted = count
        return peer

    _, peer = await loop.create_connection(make, "127.0.0.1", port)
    await asyncio.wait_for(peer.done, 300)
    return time.perf_counter() - began


def _text(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data
