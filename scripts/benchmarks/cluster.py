"""`scripts/bench cluster`: what `pybroker start --workers 2` carries beside one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from statistics import median

from pybroker.broker.cluster.owner import owner_of

from .brokers import KINDS, Running, pybroker_command, started, variant
from .measure import Values, working_directory
from .persistence import Peer, connect
from .process import cpu_seconds, family
from .results import Results

SECTION = "cluster"
PAIRS = 20
ALONE = 3000
"""Messages one after another, for latency."""
CONNECTS = 2000
CASES = {"1 worker": (1, 0), "2 workers, pairs on one": (2, 0), "2 workers, pairs on both": (2, 1)}
"""How many workers, and how far from its publisher each subscriber is."""


def measure(results: Results, messages: int) -> None:
    results.begin(SECTION, [KINDS["plain"]])
    for case, (workers, distance) in CASES.items():
        results.forget(SECTION, case)
        with working_directory() as directory:
            conf = variant(directory, "webhook.enable = false", f"system.workers = {workers}")
            with started(case, pybroker_command(directory, conf), directory, 0) as broker:
                values = asyncio.run(_run(broker, workers, distance, messages // PAIRS))
        results.add(SECTION, case, "pybroker", values)
        print(f"{case}: " + "  ".join(f"{k} {v}" for k, v in values.items()), flush=True)


async def _run(broker: Running, workers: int, distance: int, each: int) -> Values:
    readers = [_names("r", workers, (n + distance) % workers) for n in range(workers)]
    writers = [_names("w", workers, n) for n in range(workers)]
    pairs = []
    for n in range(PAIRS):
        reader = await connect(broker.port, next(readers[n % workers]), f"b/{n}", keeps=True)
        reader.subscribe()
        await reader.ready
        pairs.append((await connect(broker.port, next(writers[n % workers]), f"b/{n}"), reader))
    rate, busiest = await _pairs(broker, pairs, each)
    writer, reader = pairs[0]
    writer.transport.close()
    alone = await connect(broker.port, next(writers[0]), "b/0")
    latency = await _latency(alone, reader)
    return {
        "per_s_of_the_busiest_worker": round(each * PAIRS / busiest),
        "per_s": round(rate),
        "p50_us": round(median(latency) * 1e6, 1),
        "connects_per_s_of_cpu": round(await _connects(broker, writers[-1])),
    }


async def _pairs(broker: Running, pairs: Sequence[tuple[Peer, Peer]], each: int) -> tuple[float, float]:
    """QoS 1, all pairs at once: messages a second, and the CPU seconds of the worker that took most."""
    for _, reader in pairs:
        reader.wanted = each
    before, began = _cpu(broker), time.perf_counter()
    for writer, _ in pairs:
        writer.publish(each)
    await asyncio.wait_for(asyncio.gather(*(reader.done for _, reader in pairs)), 300)
    seconds, after = time.perf_counter() - began, _cpu(broker)
    return each * len(pairs) / seconds, max(after[pid] - before.get(pid, 0.0) for pid in after)


async def _latency(writer: Peer, reader: Peer) -> list[float]:
    """From the write of PUBLISH to its arrival, with nothing else to do."""
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
    """Clients one after another, half of which the other worker accepts; a CPU second of all processes."""
    before = cpu_seconds(broker.pid)
    for _ in range(CONNECTS):
        peer = await connect(broker.port, next(names), "b")
        peer.write(0xE0, b"")
        peer.transport.close()
    return CONNECTS / (cpu_seconds(broker.pid) - before)


def _cpu(broker: Running) -> dict[int, float]:
    """Of each process by itself."""
    pids = family(broker.pid)
    return {pid: cpu_seconds(pid) - sum(cpu_seconds(one) for one in family(pid)[1:]) for pid in pids}


def _names(prefix: str, workers: int, worker: int) -> Iterator[str]:
    """Client identifiers of a worker."""
    number = 0
    while True:
        number += 1
        if owner_of(name := f"{prefix}{number}", workers) == worker:
            yield name
