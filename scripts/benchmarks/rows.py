"""The rows of the comparison: the load, the measure and the goal of each."""

from __future__ import annotations

from dataclasses import dataclass

VERSIONS = {4: "3.1.1", 5: "5.0"}


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of pybroker's figure, of that figure divided by mosquitto's, or of the difference of both."""

    number: float
    relative: bool = True
    at_least: bool = True
    more: bool = False

    def met(self, ours: float | None, theirs: float | None) -> bool | None:
        """Whether the goal is reached; None if one of the two was not measured."""
        if ours is None or (self.relative and not theirs):
            return None
        value = ours
        if self.relative and theirs:
            value = ours - theirs if self.more else ours / theirs
        return value >= self.number if self.at_least else value <= self.number

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        if self.more:
            return f"{bound} {self.number:g} more"
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
    goal: Goal | None
    """The goal of the plain build."""
    compiled: Goal | None = None
    """The goal of the compiled build, if it is another."""
    measure: str = "per_cpu_s"
    unit: str = ""
    """The unit; empty for messages, or connections, per CPU second."""
    versions: tuple[int, ...] = (4, 5)
    runs_of: str = ""
    """The row whose runs also measure this one."""
    webhooks: bool = True
    """Whether the goals are for the shipped configuration, which has webhooks."""

    @property
    def runs(self) -> str:
        """The key of its runs."""
        return self.runs_of or self.key

    def broker(self, build: str) -> str:
        """The broker that has to reach the goal of ``build``, one of BUILDS."""
        return build if self.webhooks else {"pybroker": "plain", "compiled": "bare"}[build]

    def goal_of(self, build: str) -> Goal | None:
        return self.compiled or self.goal if build == "compiled" else self.goal

    def is_run_by(self, broker: str) -> bool:
        """Whether ``broker`` is measured: the compiled build without webhooks where it has a goal, and the
        forwarding of bytes where it is a floor."""
        if broker == "floor":
            return self.key in HAVE_FLOOR
        return broker != "bare" or not self.webhooks


HAVE_FLOOR = ("trickle", "latency", "64k", "1m")
"""The rows in which each read has one message, or a part of one."""
BUILDS = ("pybroker", "compiled")
"""The brokers that have goals."""
ROWS = [
    Row("qos0", "pairs, QoS 0", "pairs --messages 30000", Goal(5)),
    Row("fanout", "fanout 100, QoS 0", "fanout --clients 100 --messages 6000", Goal(8)),
    Row("fanin", "fanin 10, QoS 0", "fanin --messages 30000", Goal(5)),
    Row("filters", "filters, 10,000 beside the pairs", "filters --filters 10000 --messages 20000", Goal(5)),
    Row("qos1", "pairs, QoS 1", "pairs --qos 1 --messages 10000", Goal(4), Goal(8)),
    Row("qos2", "pairs, QoS 2", "pairs --qos 2 --messages 6000", Goal(4), Goal(8)),
    Row("sink", "sink (nobody listens)", "sink --messages 60000", Goal(2)),
    Row("trickle", "trickle 200", "trickle --clients 200 --messages 80000", Goal(1), Goal(1.2)),
    Row(
        "connect",
        "connect (goals: without webhooks)",
        "connect --messages 4000",
        Goal(0.7),
        Goal(1),
        webhooks=False,
    ),
    Row(
        "reconnect",
        "connect, sessions kept (goals: without webhooks)",
        "reconnect --messages 4000",
        Goal(0.7),
        Goal(1),
        webhooks=False,
    ),
    Row(
        "latency",
        "latency, median",
        "latency --messages 8000",
        Goal(1, at_least=False),
        measure="p50_us",
        unit="us",
    ),
    Row(
        "idle",
        "idle connection",
        "idle --clients 2000 --hold 1",
        Goal(2.5, at_least=False, more=True),
        measure="kib_per_connection",
        unit="KiB",
    ),
    Row("1k", "pairs, QoS 0, 1 KiB", "pairs --size 1024 --messages 15000", Goal(1.5)),
    Row("64k", "pairs, QoS 0, 64 KiB", "pairs --size 65536 --messages 800", Goal(1)),
    Row("1m", "pairs, QoS 0, 1 MiB", "pairs --size 1048576 --messages 50", Goal(1)),
    Row(
        "retained",
        "100,000 retained topics, one `#` subscriber",
        "retained --messages 100000",
        Goal(1),
        Goal(2),
    ),
    Row(
        "retain",
        "100,000 retained topics, stored",
        "",
        None,
        Goal(1),
        measure="stored_per_cpu_s",
        runs_of="retained",
    ),
    Row(
        "million",
        "memory with 999,000 retained topics",
        "retained --messages 999000",
        Goal(1.5, at_least=False),
        measure="rss_mib",
        unit="MiB",
        versions=(4,),
    ),
    Row(
        "start",
        "start to ready line",
        "",
        Goal(0.5, relative=False, at_least=False),
        measure="started_in_s",
        unit="s",
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
    "reconnect": "the same, of 100 clients whose sessions are there",
    "latency": "1 publisher, 1 subscriber, one message at a time",
    "idle": "resident memory for each of 2,000 connections that send nothing",
    "1k": "pairs with payloads of 1 KiB; 64 bytes elsewhere",
    "64k": "pairs with payloads of 64 KiB",
    "1m": "pairs with payloads of 1 MiB",
    "retained": "100,000 retained topics are stored, then one client subscribes to `#`",
    "million": "the broker's memory after the same with 999,000, just below the shipped limit",
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
