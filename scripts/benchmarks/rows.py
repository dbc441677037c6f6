"""The rows of the comparison: the load, the measure and the goal of each."""

from __future__ import annotations

from dataclasses import dataclass

VERSIONS = {4: "3.1.1", 5: "5.0"}


@dataclass(frozen=True, slots=True)
class Goal:
    """``number`` is a bound of pybroker's figure, or of that figure divided by mosquitto's."""

    number: float
    relative: bool = True
    at_least: bool = True

    def met(self, ours: float | None, theirs: float | None) -> bool | None:
        """Whether the goal is reached; None if one of the two was not measured."""
        if ours is None or (self.relative and not theirs):
            return None
        value = ours / theirs if self.relative and theirs else ours
        return value >= self.number if self.at_least else value <= self.number

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        if not self.relative:
            return f"{bound} {self.number:g}"
        return f"{bound} {self.number:g} times" if self.number != 1 else f"{bound} as much"


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    """The value of ``--only``."""
    title: str
    load: str
    """The load generator's scenario and options; empty if the start of the broker is measured."""
    goal: Goal
    measure: str = "per_cpu_s"
    unit: str = ""
    """The unit; empty for messages, or connections, per CPU second."""
    versions: tuple[int, ...] = (4, 5)
    runs_of: str = ""
    """The row whose runs also measure this one."""

    @property
    def runs(self) -> str:
        """The key of its runs."""
        return self.runs_of or self.key


ROWS = [
    Row("qos0", "pairs, QoS 0", "pairs --messages 30000", Goal(5)),
    Row("fanout", "fanout 100, QoS 0", "fanout --clients 100 --messages 6000", Goal(8)),
    Row("fanin", "fanin 10, QoS 0", "fanin --messages 30000", Goal(5)),
    Row("filters", "filters, 10,000 beside the pairs", "filters --filters 10000 --messages 20000", Goal(5)),
    Row("qos1", "pairs, QoS 1", "pairs --qos 1 --messages 10000", Goal(4)),
    Row("qos2", "pairs, QoS 2", "pairs --qos 2 --messages 6000", Goal(4)),
    Row("sink", "sink (nobody listens)", "sink --messages 60000", Goal(2)),
    Row("trickle", "trickle 200", "trickle --clients 200 --messages 80000", Goal(1)),
    Row("connect", "connect", "connect --messages 4000", Goal(0.8)),
    Row("latency", "latency, median", "latency --messages 8000", Goal(1, at_least=False), "p50_us", "us"),
    Row(
        "idle",
        "idle connection",
        "idle --clients 2000 --hold 1",
        Goal(6, relative=False, at_least=False),
        "kib_per_connection",
        "KiB",
    ),
    Row("1k", "pairs, QoS 0, 1 KiB", "pairs --size 1024 --messages 15000", Goal(1.5)),
    Row("64k", "pairs, QoS 0, 64 KiB", "pairs --size 65536 --messages 800", Goal(1.5)),
    Row("retained", "100,000 retained topics, one `#` subscriber", "retained --messages 100000", Goal(1)),
    Row("retain", "100,000 retained topics, stored", "", Goal(1), "stored_per_cpu_s", runs_of="retained"),
    Row(
        "start",
        "start to ready line",
        "",
        Goal(0.5, relative=False, at_least=False),
        "started_in_s",
        "s",
        versions=(4,),
    ),
]
SCENARIOS = {
    "qos0": "10 publishers to 10 subscribers, a topic for each pair",
    "fanout": "1 publisher to 100 subscribers of one topic",
    "fanin": "10 publishers to 1 subscriber with a wildcard",
    "filters": "pairs, beside 10,000 unrelated subscriptions, most of them with wildcards",
    "qos1": "pairs with 20 messages in flight for each publisher",
    "qos2": "as for QoS 1",
    "sink": "10 publishers, no subscriber",
    "trickle": "200 pairs, each with one message in flight: nothing to batch",
    "connect": "CONNECT, CONNACK, DISCONNECT, one client after another",
    "latency": "1 publisher, 1 subscriber, one message at a time",
    "idle": "resident memory for each of 2,000 connections that send nothing",
    "1k": "pairs with payloads of 1 KiB; 64 bytes elsewhere",
    "64k": "pairs with payloads of 64 KiB",
    "retained": "100,000 retained topics are stored, then one client subscribes to `#`",
}
"""A description of what the clients of a row do."""
QUICK = ("qos0", "fanout", "qos1", "connect")


def chosen(keys: list[str] | None) -> list[Row]:
    """The rows with these keys, and those that share their runs; without keys, all rows. Raises ValueError
    for an unknown key."""
    unknown = sorted(set(keys or ()) - {row.key for row in ROWS})
    if unknown:
        known = ", ".join(row.key for row in ROWS)
        raise ValueError(f"no scenario is called {', '.join(unknown)}; known: {known}")
    runs = {row.runs for row in ROWS if not keys or row.key in keys}
    return [row for row in ROWS if row.runs in runs]


def shown(number: float | None, unit: str = "") -> str:
    """``number`` in a readable form."""
    if number is None:
        return "-"
    if number >= 10_000:
        text = f"{round(number, -3):,.0f}"
    elif number >= 100:
        text = f"{round(number, -1):,.0f}"
    else:
        text = f"{number:.2g}" if number < 1 else f"{number:.3g}"
    return f"{text} {unit}".strip()
