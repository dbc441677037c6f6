"""`scripts/bench fairness`: the effect of one client on another, and of a million topics on the broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .brokers import Kind, Running, StartError, running
from .measure import Values, finished, load, loading, working_directory
from .process import cpu_seconds
from .results import Results
from .rows import Goal

SECTION = "fairness"
FLOOD, SLOW, TOPICS = "flood", "slow", "topics"
GOAL_FOR, GOAL = "beside_p99_us", Goal(1, at_least=False)
"""A quiet pair waits for no longer than with mosquitto."""
FLOODS = 3
"""How many times the flood is measured, in turns: few messages are among the slowest hundredth."""
TOPICS_COUNT = 1_000_000
FLOOD_SECONDS, QUIET_SECONDS = 5, 3
QUIET = f"latency --messages 800 --pause-ms 2 --limit {QUIET_SECONDS}"
FLOODING = f"pairs --clients 1 --messages 1000000000 --limit {FLOOD_SECONDS} --yielding"
"""It yields the core to the quiet pair, whose own delays are not measured."""
READER = "slow --size 1024 --messages 200000"


def measure(results: Results, kinds: Sequence[Kind], topics: int = TOPICS_COUNT) -> None:
    results.begin(SECTION, kinds)
    for row in (FLOOD, SLOW, TOPICS):
        results.forget(SECTION, row)
        for kind in [*kinds] * (FLOODS if row == FLOOD else 1):
            values = _once(row, kind, topics)
            results.add(SECTION, row, kind.name, values)
            facts = "  ".join(f"{key} {value}" for key, value in values.items())
            print(f"{row}: {kind.name}  {facts}", flush=True)


def _once(row: str, kind: Kind, topics: int) -> Values:
    measures: dict[str, Callable[[Running], Values]] = {
        FLOOD: flood,
        SLOW: slow_reader,
        TOPICS: lambda broker: many_topics(broker, topics),
    }
    with working_directory() as directory:
        try:
            with running(kind, directory) as broker:
                return measures[row](broker)
        except StartError as error:
            return {"error": str(error)}


def flood(broker: Running) -> Values:
    """The latency of a quiet pair, alone and beside a client that sends as fast as it can."""
    alone = load(broker, QUIET)
    with loading(broker, FLOODING) as flooding:
        _wait_for_work(broker)
        beside = load(broker, QUIET)
        flooded = finished(flooding)
    for one in (alone, beside, flooded):
        if "error" in one:
            return one
    return {
        "alone_p50_us": alone["p50_us"],
        "alone_p99_us": alone["p99_us"],
        "beside_p50_us": beside["p50_us"],
        "beside_p99_us": beside["p99_us"],
        "flood_rate": flooded["rate"],
    }


def _wait_for_work(broker: Running) -> None:
    """Return when the broker is busy."""
    enough = cpu_seconds(broker.pid) + 0.2
    end = time.monotonic() + FLOOD_SECONDS
    while cpu_seconds(broker.pid) < enough and time.monotonic() < end:
        time.sleep(0.01)


def slow_reader(broker: Running) -> Values:
    """The cost of a message to one reader, without and with another reader that never reads."""
    alone, beside = load(broker, f"{READER} --stuck 0"), load(broker, f"{READER} --stuck 1")
    for one in (alone, beside):
        if "error" in one:
            return one
    return {
        "alone_per_cpu_s": alone["per_cpu_s"],
        "beside_per_cpu_s": beside["per_cpu_s"],
        "lost": beside["lost"],
        "rss_grown_mib": beside["rss_grown_mib"],
        "sent_mib": round(beside["want"] * beside["size"] / 2**20),
    }


def many_topics(broker: Running, topics: int) -> Values:
    """Each message has a topic of its own: whether the cost of a message grows, and the memory."""
    values = load(broker, f"topics --messages {topics}")
    if "error" in values:
        return values
    return {
        "topics": topics,
        "first_us": values["us_each"][0],
        "last_us": values["us_each"][-1],
        "lost": values["lost"],
        "rss_grown_mib": values["rss_grown_mib"],
    }
