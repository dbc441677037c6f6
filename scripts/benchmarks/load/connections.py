"""Scenarios with many connections."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..process import Meter, cpu_seconds, resident_mib
from .client import Client
from .run import Outcome, Run

TENTHS = 10


SESSIONS = 100
"""Of reconnect."""


def connect(run: Run) -> Outcome:
    return _connects(run, lambda done: run.connect(f"c{done}"))


def reconnect(run: Run) -> Outcome:
    for number in range(SESSIONS):
        run.connect(f"r{number}", keeps=True).close()
    return _connects(run, lambda done: run.connect(f"r{done % SESSIONS}", keeps=True))


def _connects(run: Run, connected: Callable[[int], Client]) -> Outcome:
    done = 0
    with run.meter:
        end = time.monotonic() + run.options.limit
        while done < run.messages and time.monotonic() < end:
            connected(done).close()
            done += 1
    return Outcome(run.messages, done, run.meter, cut=done < run.messages)


def climb(run: Run) -> Outcome:
    keep = []
    costs = []
    before = resident_mib(run.pid)
    with run.meter:
        for tenth in range(TENTHS):
            first, last = (run.clients * part // TENTHS for part in (tenth, tenth + 1))
            cpu_before = cpu_seconds(run.pid)
            keep += [run.connect(f"n{i}") for i in range(first, last)]
            costs.append(1e6 * (cpu_seconds(run.pid) - cpu_before) / max(1, last - first))
    facts = {"us_each": [round(cost, 1) for cost in costs], "kib_each": run.grown_kib(before)}
    return Outcome(run.clients, len(keep), run.meter, facts=facts)


def idle(run: Run) -> Outcome:
    before = resident_mib(run.pid)
    keep = []
    with run.meter:
        for i in range(run.clients):
            client = run.connect(f"i{i}")
            client.subscribe([f"idle/{i}/+"])
            keep.append(client)
    time.sleep(1)  # for what a broker does a moment later
    memory = run.grown_kib(before)
    quiet = Meter(run.pid)
    with quiet:
        time.sleep(run.options.hold)
    facts = {"kib_per_connection": memory, "idle_cpu_share": round(quiet.cpu / quiet.wall, 4)}
    return Outcome(run.clients, len(keep), run.meter, facts=facts)
