"""`scripts/bench webhook`: the cost of an event, and the effect of a failing endpoint on others."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .brokers import KINDS, Running, free_port, pybroker_command, started, variant
from .measure import Receiver, Values, load, receiver, working_directory
from .process import cpu_seconds, resident_mib
from .results import Results

SECTION = "webhook"
CLIENTS = 10
STALL = 3.0
"""Seconds without another event after which a burst is over."""
EVENTS, DOWN = 50_000, 1_000_000
PUBACKS = "puback --messages 5000"

ALL_MESSAGES = """webhook.events = [
    { event = "on_client_connack" }
    { event = "on_client_disconnected" }
    { event = "on_message_publish", topic = "#" }
]"""
SPOOL = 'webhook.spool.path = "{directory}/spool"'
BATCH = "webhook.batch { size = 100, time = 100ms }"
BURSTS: dict[str, tuple[str, Sequence[str], float | None]] = {
    "memory": ("one POST an event, memory queue", (), 12_000),
    "spool": ("one POST an event, spool", (SPOOL,), 6_000),
    "batch": ("`batch { size = 100 }`, memory queue", (BATCH,), 100_000),
    "spooled batch": ("`batch { size = 100 }`, spool", (SPOOL, BATCH), None),
}
"""A configuration, and the events per CPU second that it has to reach."""
PUBACK = "puback"
PUBACK_CASES = {
    "off": "webhooks off",
    "answering": "the endpoint answers",
    "hanging": "the endpoint hangs",
}
PUBACK_GOAL = 1.5
"""The largest p99 that is allowed while the endpoint hangs, as a multiple of the p99 without webhooks."""
DOWN_CASES: dict[str, tuple[str, Sequence[str]]] = {
    "down, memory": ("memory queue", ()),
    "down, spool": ("spool", (SPOOL,)),
}


def measure(results: Results, events: int = EVENTS, down: int = DOWN, rounds: int = 3) -> None:
    results.begin(SECTION, [KINDS["pybroker"]])
    for row in BURSTS:
        results.forget(SECTION, row)
    for _ in range(rounds):
        for row, (title, lines, _goal) in BURSTS.items():
            values = burst(lines, events)
            results.add(SECTION, row, "pybroker", values)
            print(f"{title}: {_line(values)}", flush=True)
    _measure_pubacks(results, rounds)
    for row, (title, lines) in DOWN_CASES.items():
        results.forget(SECTION, row)
        values = endpoint_down(lines, down)
        results.add(SECTION, row, "pybroker", values)
        print(f"endpoint down, {title}: {_line(values)}", flush=True)


def _line(values: Values) -> str:
    return "  ".join(f"{key} {value}" for key, value in values.items())


def _measure_pubacks(results: Results, rounds: int) -> None:
    for case in PUBACK_CASES:
        results.forget(SECTION, f"{PUBACK} {case}")
    for _ in range(rounds):
        for case in PUBACK_CASES:
            results.add(SECTION, f"{PUBACK} {case}", "pybroker", puback(case))
    for case, title in PUBACK_CASES.items():
        p99 = results.median(SECTION, f"{PUBACK} {case}", "pybroker", "p99_us")
        print(f"PUBACK at QoS 1, {title}: p99 {p99} us", flush=True)


@contextmanager
def broker_posting_to(url: str, lines: Sequence[str]) -> Iterator[tuple[Running, Path]]:
    """A broker with the default configuration that posts every message to ``url``, changed by ``lines``, and
    the directory of its files."""
    with working_directory() as directory:
        changed = (line.replace("{directory}", str(directory)) for line in lines)
        changes = [ALL_MESSAGES, f'webhook.url = "{url}"', *changed]
        command = pybroker_command(directory, variant(directory, *changes))
        with started("pybroker", command, directory) as broker:
            yield broker, directory


def burst(lines: Sequence[str], events: int) -> Values:
    """Publish ``events`` messages at once and wait for all their webhooks."""
    each = events // CLIENTS
    connects = 2 * CLIENTS  # each client makes one event when it connects and one when it disconnects
    want = each * CLIENTS + connects
    with receiver() as posts, broker_posting_to(posts.url, lines) as (broker, _):
        before = cpu_seconds(broker.pid)
        published = load(broker, f"sink --clients {CLIENTS} --messages {each}")
        if "error" in published:
            return published
        counts = _arrived(posts, want)
        used = cpu_seconds(broker.pid) - before
    return {
        "events": counts["events"],
        "lost": want - counts["events"],
        "posts": counts["posts"],
        "per_cpu_s": round(counts["events"] / used),
        "seconds": round(counts["last"] - counts["first"], 2),
    }


def _arrived(posts: Receiver, want: int) -> Values:
    """The receiver's counts, when it has all events or no more arrive."""
    counts = posts.counts()
    quiet = time.monotonic()
    while counts["events"] < want and time.monotonic() - quiet < STALL:
        time.sleep(0.05)
        now = posts.counts()
        if now["events"] > counts["events"]:
            quiet = time.monotonic()
        counts = now
    return counts


def puback(case: str) -> Values:
    """How long a publisher at QoS 1 waits for its PUBACK."""
    lines = ["webhook.enable = false"] if case == "off" else []
    options = ["--hang"] if case == "hanging" else []
    with receiver(0, *options) as posts, broker_posting_to(posts.url, lines) as (broker, _):
        return load(broker, PUBACKS)


def endpoint_down(lines: Sequence[str], events: int) -> Values:
    """Publish while nothing listens at the endpoint: the memory, and the fate of the events."""
    url = f"http://127.0.0.1:{free_port()}/hook"
    with broker_posting_to(url, [*lines, "webhook.drain_timeout = 0"]) as (broker, directory):
        before = resident_mib(broker.pid)
        published = load(broker, f"sink --clients {CLIENTS} --messages {events // CLIENTS}")
        if "error" in published:
            return published
        after = resident_mib(broker.pid)
        said = broker.stop()
        spool = directory / "spool"
        size = sum(file.stat().st_size for file in spool.rglob("*") if file.is_file())
        kept = _kept(said)
        return {
            "events": events,
            "rss_before_mib": round(before, 1),
            "rss_after_mib": round(after, 1),
            "kept": kept,
            "on_disk_mib": round(size / 2**20, 1),
            "publish_per_cpu_s": published["per_cpu_s"],
        }


def _kept(said: str) -> int | None:
    """The number of events that were not delivered, from the broker's output when it stops."""
    found = re.search(r"webhook \S+: (\d+) events not delivered", said)
    return int(found[1]) if found else None
