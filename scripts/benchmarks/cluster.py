"""`scripts/bench cluster`: the throughput of `pybroker start --workers 2`, and of two nodes over NATS, beside
one process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from pybroker.broker.cluster.owner import owner_of

from .brokers import KINDS, ROOT, Running, pybroker_command, started, variant
from .measure import Values, working_directory
from .persistence import Peer, connect
from .process import cpu_seconds, family
from .results import Results

sys.path.insert(0, str(ROOT))

from tests.cluster.support import Cluster
from tests.pushers.servers import Nats, running

SECTION = "cluster"
PAIRS = 20
ALONE = 3000
"""The number of messages that are sent one after another, for latency."""
CONNECTS = 2000
TAKEOVERS = 2000
AT_ONCE = 100
"""Clients that connect to the other node at the same time."""
CASES = {"1 worker": (1, 0), "2 workers, pairs on one": (2, 0), "2 workers, pairs on both": (2, 1)}
"""The number of workers, and how far each subscriber is from its publisher."""
NODES = {"2 nodes, pairs on one": 0, "2 nodes, pairs on both": 1}
"""The same for nodes over NATS."""
JOIN = "a fourth node joins"
CLIENTS, FILTERS = 34, 1000
"""The clients of each of three nodes, and the topic filters of each client."""


def measure(results: Results, messages: int) -> None:
    results.begin(SECTION, [KINDS["plain"]])
    for case, (workers, distance) in CASES.items():
        results.forget(SECTION, case)
        with working_directory() as directory:
            conf = variant(directory, "webhook.enable = false", f"system.workers = {workers}")
            with started(case, pybroker_command(directory, conf), directory, 0) as broker:
                values = asyncio.run(_run([broker], workers, distance, messages // PAIRS))
        _add(results, case, values)
    for case, distance in NODES.items():
        results.forget(SECTION, case)
        with TemporaryDirectory() as folder, ExitStack() as stack:
            server = stack.enter_context(running(Nats(Path(folder))))
            nodes = [stack.enter_context(_node(name, server)) for name in "ab"]
            values = asyncio.run(_run(nodes, 1, distance, messages // PAIRS))
            if distance:
                values |= asyncio.run(_takeovers(nodes))
            _add(results, case, values)
    results.forget(SECTION, JOIN)
    _add(results, JOIN, _join())


def _add(results: Results, case: str, values: Values) -> None:
    results.add(SECTION, case, "pybroker", values)
    print(f"{case}: " + "  ".join(f"{k} {v}" for k, v in values.items()), flush=True)


@contextmanager
def _node(name: str, server: Nats) -> Iterator[Running]:
    """A node of a cluster."""
    with working_directory() as directory:
        cluster = f'cluster {{ node = {name}, servers = ["{server.url}"] }}'
        conf = variant(directory, "webhook.enable = false", cluster)
        with started(f"node {name}", pybroker_command(directory, conf), directory, 0) as node:
            yield node


def _join() -> Values:
    """The CPU time of all four nodes until the new one knows all topic filters. They are in one process, over
    a bus in memory."""
    cluster = Cluster(3, fixed=False)
    for node in range(3):
        for n in range(CLIENTS):
            client = cluster.connect(node, f"{node}-{n}")
            cluster.subscribe(client, *(f"site/{node}/device{n}/sensor{k}/+/value" for k in range(FILTERS)))
    broker, end = cluster.make(3, first=False)
    cluster.nodes.append(broker)
    cluster.ends.append(end)
    began = time.process_time()
    cluster.ways.enter(3, end)
    cluster.settle()
    return {"filters": broker.engine.router.elsewhere, "cpu_s": round(time.process_time() - began, 2)}


async def _run(brokers: Sequence[Running], workers: int, distance: int, each: int) -> Values:
    """``brokers`` are the nodes of a cluster, or one with ``workers``."""
    many = max(len(brokers), workers)
    port = [brokers[n % len(brokers)].port for n in range(many)]
    owner = [n % workers for n in range(many)]
    readers = [_names(f"r{n}-", workers, owner[n]) for n in range(many)]
    writers = [_names(f"w{n}-", workers, owner[n]) for n in range(many)]
    pairs = []
    for n in range(PAIRS):
        here, there = n % many, (n + distance) % many
        reader = await connect(port[there], next(readers[there]), f"b/{n}", keeps=True)
        reader.subscribe()
        await reader.ready
        pairs.append((await connect(port[here], next(writers[here]), f"b/{n}"), reader))
    rate, busiest = await _pairs(brokers, pairs, each)
    writer, reader = pairs[0]
    writer.transport.close()
    alone = await connect(port[0], next(writers[0]), "b/0")
    latency = await _latency(alone, reader)
    return {
        "per_s_of_the_busiest_worker": round(each * PAIRS / busiest),
        "per_s": round(rate),
        "p50_us": round(median(latency) * 1e6, 1),
        "connects_per_s_of_cpu": round(await _connects(brokers[-1], writers[-1])),
    }


async def _pairs(
    brokers: Sequence[Running], pairs: Sequence[tuple[Peer, Peer]], each: int
) -> tuple[float, float]:
    """QoS 1, all pairs at once: messages per second, and the CPU seconds of the process that used most."""
    for _, reader in pairs:
        reader.wanted = each
    before, began = _cpu(brokers), time.perf_counter()
    for writer, _ in pairs:
        writer.publish(each)
    await asyncio.wait_for(asyncio.gather(*(reader.done for _, reader in pairs)), 300)
    seconds, after = time.perf_counter() - began, _cpu(brokers)
    return each * len(pairs) / seconds, max(after[pid] - before.get(pid, 0.0) for pid in after)


async def _latency(writer: Peer, reader: Peer) -> list[float]:
    """The time from the write of PUBLISH to its arrival, on an idle broker."""
    found = []
    for _ in range(ALONE):
        reader.done = asyncio.get_running_loop().create_future()
        reader.wanted = reader.received + 1
        began = time.perf_counter()
        writer.publish(1)
        await reader.done
        found.append(time.perf_counter() - began)
    return found


async def _connects(broker: Running, names: Iterator[str]) -> float:
    """Clients connect one after another, and the other worker accepts half of them: clients per CPU second of
    all processes."""
    before = cpu_seconds(broker.pid)
    for _ in range(CONNECTS):
        peer = await connect(broker.port, next(names), "b")
        peer.write(0xE0, b"")
        peer.transport.close()
    return CONNECTS / (cpu_seconds(broker.pid) - before)


async def _takeovers(nodes: Sequence[Running]) -> Values:
    """Clients with a subscription connect to the other node: sessions that move per second, and per CPU
    second of the node that worked more."""
    names = [f"moves-{n}" for n in range(TAKEOVERS)]
    for name in names:
        peer = await connect(nodes[0].port, name, f"t/{name}", keeps=True)
        peer.subscribe()
        await peer.ready
        peer.write(0xE0, b"")
        peer.transport.close()
    before, began = _cpu(nodes), time.perf_counter()
    for at in range(0, TAKEOVERS, AT_ONCE):
        await asyncio.gather(*(_arrive(nodes[1].port, name) for name in names[at : at + AT_ONCE]))
    seconds, after = time.perf_counter() - began, _cpu(nodes)
    busiest = max(after[pid] - before[pid] for pid in after)
    return {
        "takeovers_per_s": round(TAKEOVERS / seconds),
        "takeovers_per_s_of_cpu": round(TAKEOVERS / busiest),
    }


async def _arrive(port: int, name: str) -> None:
    """Connect, find the session, and leave."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client_id = len(name).to_bytes(2, "big") + name.encode()
    writer.write(bytes((0x10, 10 + len(client_id))) + b"\x00\x04MQTT\x04\x00\x00\x00" + client_id)
    connack = await asyncio.wait_for(reader.readexactly(4), 60)
    if connack != b"\x20\x02\x01\x00":
        raise RuntimeError(f"{name} has no session on the other node: {connack.hex()}")
    writer.write(b"\xe0\x00")
    writer.close()


def _cpu(brokers: Sequence[Running]) -> dict[int, float]:
    """The CPU seconds of each process, without its child processes."""
    pids = [pid for broker in brokers for pid in family(broker.pid)]
    return {pid: cpu_seconds(pid) - sum(cpu_seconds(one) for one in family(pid)[1:]) for pid in pids}


def _names(prefix: str, workers: int, worker: int) -> Iterator[str]:
    """Client identifiers of a worker."""
    number = 0
    while True:
        number += 1
        if owner_of(name := f"{prefix}{number}", workers) == worker:
            yield name
