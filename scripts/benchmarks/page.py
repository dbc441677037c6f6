"""`scripts/bench page`: writes docs/performance.md from the results.

Text that people wrote is between ``<!-- keep: NAME -->`` and ``<!-- end -->``, and is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from . import bridge, fairness, growth, persistence, pushers, table, webhook
from .brokers import KINDS, ROOT
from .measure import Values
from .results import Results
from .rows import BUILDS, ROWS, SCENARIOS, VERSIONS, Row, shown

PAGE = ROOT / "docs" / "performance.md"
KEPT = re.compile(r"<!-- keep: (?P<name>[\w-]+) -->\n(?P<text>.*?)<!-- end -->", re.S)

WORDS = {True: "yes", False: "**no**", None: "-"}
NOT_MEASURED = "Not measured yet."

INTRODUCTION = """\
# Performance

`scripts/bench page` writes this page; only the text between `keep` and `end` marks is written by hand.

The tables compare brokers that ran in turn on one machine. Each rate is **messages per second of the
broker's CPU time** (user and system, measured from outside). Unlike messages per second, it does not
depend on the speed of the load generator or on a busy neighbour.

| | |
| --- | --- |
| CPUs | the broker has one core, the load generator another |
| order | a broker is started anew for each run, and the brokers take turns |
| figure | the median of the rounds |
| pybroker | as shipped: `conf/nanomq.conf`, with access control, a webhook and all of MQTT 5.0 |
| other brokers | a minimal configuration: one port, anonymous clients allowed, queues of the same length |
"""
GUARD = """\
## The test against slowdowns

`tests/benchmarks/test_hot_path.py` is part of `make test`. It sends messages through decoder,
connection, engine, routing and delivery, without sockets, and counts the instructions that the Python
interpreter executes for them. This count is the same in every run, on a fast machine and on a busy one.
The test fails when a message costs 20 % more than the recorded count, and never by chance.

Messages that come alone, payloads of 64 KiB, retained messages stored and sent, and connects have counts
of their own. The count is divided by that of a fixed loop of plain Python, which evens out some of the
differences between Python versions. It does not include time inside C code; the tables above do.
"""
REPEAT = """\
## Measure it yourself

```
make check                             # makes .venv
make compiled                          # to measure the compiled build as well
.venv/bin/python scripts/bench quick   # half a minute
.venv/bin/python scripts/bench all     # a quarter of an hour; writes this page
```

It needs Linux, two idle cores, and `taskset`. mosquitto (Debian: `apt install mosquitto`) and NanoMQ
are measured when they are on the PATH. `scripts/bench --help` lists the parts.
"""


def write(results: Results) -> None:
    """Write the page, and keep the text that was written by hand."""
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(rendered(results, before), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}", flush=True)
    for section in results.sections:
        if results.facts(section)["commit"].endswith("-dirty"):
            print(
                f"warning: {section} was measured on code that is not committed; measure it again", flush=True
            )


def rendered(results: Results, before: str = "") -> str:
    """The page; ``before`` is its present text."""
    by_hand = {match["name"]: match["text"] for match in KEPT.finditer(before)}

    def keep(name: str) -> str:
        return f"<!-- keep: {name} -->\n{by_hand.get(name, '')}<!-- end -->\n"

    parts = [
        INTRODUCTION,
        keep("summary"),
        "## Against other brokers\n",
        *_comparison(results),
        "### What keeps pybroker from the goals\n",
        keep("obstacles"),
        "## Growth\n",
        *_growth(results),
        keep("growth"),
        "## Fairness\n",
        *_fairness(results),
        keep("fairness"),
        "## Webhooks\n",
        *_webhooks(results),
        keep("webhooks"),
        "## Event pushers\n",
        *_pushers(results),
        keep("pushers"),
        "## State on disk\n",
        *_persistence(results),
        keep("persistence"),
        "## Bridges\n",
        *_bridges(results),
        keep("bridges"),
        GUARD,
        keep("check"),
        REPEAT,
    ]
    return "\n".join(parts)


def _circumstances(facts: dict[str, Any]) -> str:
    programs = ", ".join([*facts["programs"], f"Python {facts['python']}"])
    lines = [
        f"`{facts['command']}` on {facts['date']}, commit {facts['commit']}.",
        f"{facts['cores']} cores of {facts['cpu']}, {facts['kernel']}. {programs}.",
        *facts["notes"],
    ]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _heading(broker: str) -> str:
    return KINDS[broker].label


def _comparison(results: Results) -> list[str]:
    if table.SECTION not in results.sections:
        return [NOT_MEASURED + "\n"]
    brokers = [name for name in KINDS if name in results.brokers(table.SECTION)]
    builds = [build for build in BUILDS if build in brokers]
    head = ["scenario", "MQTT", *map(_heading, brokers)]
    for build in builds:
        head += [f"{build} / mosquitto", "goal", "met"]
    rows = []
    for row in ROWS:
        for version in row.versions:
            if not list(results.find(table.SECTION, row.runs, version=version)):
                continue
            cells = [table.cell(results, row, version, broker) for broker in brokers]
            for build in builds:
                cells += _against_goal(results, row, version, build)
            rows.append([row.title, VERSIONS[version], *cells])
    words = "Messages, or connections, per second of the broker's CPU time, unless a unit is given.\n"
    commands = [(row.title, SCENARIOS[row.key], f"`load {row.load}`") for row in ROWS if row.load]
    return [
        _circumstances(results.facts(table.SECTION)),
        words,
        _table(head, rows),
        "Each scenario and its load generator (`PYTHONPATH=scripts python -m benchmarks.load --help`):\n",
        _table(["scenario", "work", "command"], commands),
    ]


def _against_goal(results: Results, row: Row, version: int, build: str) -> list[str]:
    """Ratio, goal, and whether it is met."""
    goal = row.goal_of(build)
    if goal is None or goal.relative:
        ratio = shown(table.ratio_of(results, row, version, build=build))
    else:
        ratio = "-"
    met = WORDS[table.is_met(results, row, version, build=build)]
    return [ratio, table.goal_of(row, build), met]


def _growth(results: Results) -> list[str]:
    if growth.SECTION not in results.sections:
        return [NOT_MEASURED + "\n"]
    brokers = [name for name in KINDS if name in results.brokers(growth.SECTION)]
    parts = [_circumstances(results.facts(growth.SECTION)), "![Cost against size](growth.svg)\n"]
    rows = []
    for axis in growth.AXES:
        points = {broker: _by_count(results, axis.key, broker) for broker in brokers}
        for count in axis.points:
            if any(count in of_broker for of_broker in points.values()):
                cells = [shown(points[broker].get(count), axis.unit) for broker in brokers]
                rows.append([axis.title, f"{count:,}", *cells])
    for tenth, name in ((0, "the first tenth of them"), (-1, "the last tenth")):
        found = {b: list(results.find(growth.SECTION, growth.CLIMB, b)) for b in brokers}
        cells = [
            shown(of[0]["us_each"][tenth], "us a connect") if of and of[0].get("us_each") else "-"
            for of in found.values()
        ]
        clients = next((of[0]["clients"] for of in found.values() if of), 0)
        rows.append(["Connecting one more client", f"{name}, of {clients:,}", *cells])
    head = ["cost in the broker's CPU time", "size", *map(_heading, brokers)]
    return [*parts, _table(head, rows)]


def _by_count(results: Results, key: str, broker: str) -> dict[int, float | None]:
    return {point["count"]: point["us_each"] for point in results.find(growth.SECTION, key, broker)}


FAIRNESS_LINES = [
    (fairness.FLOOD, "a quiet pair alone, p50 and p99", ("alone_p50_us", "alone_p99_us"), "us"),
    (fairness.FLOOD, "beside a flooding client, p50 and p99", ("beside_p50_us", "beside_p99_us"), "us"),
    (fairness.FLOOD, "messages per second of the flood", ("flood_rate",), ""),
    (fairness.SLOW, "messages per CPU second to one reader", ("alone_per_cpu_s",), ""),
    (fairness.SLOW, "the same beside a reader that reads nothing", ("beside_per_cpu_s",), ""),
    (fairness.SLOW, "messages lost by the first reader beside it", ("lost",), ""),
    (fairness.SLOW, "memory grown, and size of what was sent", ("rss_grown_mib", "sent_mib"), "MiB"),
    (fairness.TOPICS, "topics, one message each", ("topics",), ""),
    (
        fairness.TOPICS,
        "cost of a message of the first and of the last tenth",
        ("first_us", "last_us"),
        "us CPU",
    ),
    (fairness.TOPICS, "memory grown", ("rss_grown_mib",), "MiB"),
]


def _fairness(results: Results) -> list[str]:
    section = fairness.SECTION
    if section not in results.sections:
        return [NOT_MEASURED + "\n"]
    brokers = [name for name in KINDS if name in results.brokers(section)]
    rows = []
    for key, title, names, unit in FAIRNESS_LINES:
        cells = [_values(_middle(results, section, key, b, names), names, unit) for b in brokers]
        rows.append([title, *cells, *_fairness_goal(results, names)])
    return [
        _circumstances(results.facts(section)),
        _table(["", *map(_heading, brokers), "goal", "met"], rows),
    ]


def _fairness_goal(results: Results, names: Sequence[str]) -> list[str]:
    """The goal of a line about these values, and whether it is met."""
    if fairness.GOAL_FOR not in names:
        return ["-", "-"]
    ours, theirs = (
        results.median(fairness.SECTION, fairness.FLOOD, broker, fairness.GOAL_FOR)
        for broker in (BUILDS[0], table.THEIRS)
    )
    return [f"p99 {fairness.GOAL}", WORDS[fairness.GOAL.met(ours, theirs)]]


def _middle(results: Results, section: str, row: str, broker: str, names: Sequence[str]) -> Values:
    """The medians of these values; the error of a run that failed."""
    failed = next((one for one in results.find(section, row, broker) if "error" in one), None)
    return failed or {name: results.median(section, row, broker, name) for name in names}


def _values(values: Values, names: Sequence[str], unit: str) -> str:
    if "error" in values:
        return "failed"
    return f"{', '.join(shown(values.get(name)) for name in names)} {unit}".strip()


def _webhooks(results: Results) -> list[str]:
    if webhook.SECTION not in results.sections:
        return [NOT_MEASURED + "\n"]
    section = webhook.SECTION
    bursts = []
    for key, (title, _, goal) in webhook.BURSTS.items():
        rounds = list(results.find(section, key))
        rate = results.median(section, key, "pybroker", "per_cpu_s")
        lost = sum(values.get("lost", 0) for values in rounds)
        sent = sum(values.get("events", 0) for values in rounds) + lost
        met = None if goal is None or rate is None else rate >= goal and not lost
        aim = "-" if goal is None else f"at least {shown(goal)}, none lost"
        bursts.append([title, shown(rate), f"{lost:,} of {sent:,}", aim, WORDS[met]])
    down = []
    for key, (title, _) in webhook.DOWN_CASES.items():
        values: Values = next(results.find(section, key), {})
        memory = _values(values, ("rss_before_mib", "rss_after_mib"), "MiB")
        disk = _values(values, ("on_disk_mib",), "MiB")
        down.append([title, f"{values.get('events', 0):,}", f"{values.get('kept') or 0:,}", memory, disk])
    return [
        _circumstances(results.facts(section)),
        "Events delivered in a burst, per second of the broker's CPU time:\n",
        _table(["", "events", "lost", "goal", "met"], bursts),
        "Time until a publisher at QoS 1 has its PUBACK:\n",
        _table(["", "p50", "p99"], _pubacks(results)),
        _puback_verdict(results),
        "While the endpoint is down, messages are published. Events without room are dropped and counted:\n",
        _table(["", "events", "kept for later", "memory before and after", "on disk"], down),
    ]


def _persistence(results: Results) -> list[str]:
    section = persistence.SECTION
    if section not in results.sections:
        return [NOT_MEASURED + "\n"]

    def cell(row: str, case: str, key: str, unit: str = "") -> str:
        return shown(results.median(section, f"{row} {case}", "pybroker", key), unit)

    rows = []
    for case in persistence.CASES:
        title = case if case == "mosquitto" else f"pybroker, {case}"
        rows.append(
            [
                title,
                cell("pairs", case, "rate"),
                cell("publishers", case, "rate"),
                cell("publishers", case, "p99_ms", "ms"),
                cell("queue", case, "queued_per_s"),
                cell("queue", case, "mib", "MiB"),
                cell("queue", case, "start_s", "s"),
                cell("queue", case, "delivered_per_s"),
            ]
        )
    head = ["", "pairs", "to an offline session", "p99 of a PUBACK", "queued", "memory", "ready", "delivered"]
    return [
        _circumstances(results.facts(section)),
        f"Messages per second at QoS 1, payloads of {len(persistence.PAYLOAD)} bytes. mosquitto has"
        " `persistence true`, which writes at its stop and every 30 minutes.\n",
        f"- pairs: {persistence.PAIRS} pairs whose subscribers have persistent sessions\n"
        f"- to an offline session: {persistence.PUBLISHERS} publishers, each with {persistence.WINDOW}"
        " messages in flight, to one session whose client is away\n"
        "- queued, memory: a queue for an offline session, and the memory of the broker that has it\n"
        "- ready, delivered: after a restart, the time until the broker accepts clients, and the delivery of"
        " that queue, from CONNECT to the last message\n",
        _table(head, rows),
    ]


def _bridges(results: Results) -> list[str]:
    section = bridge.SECTION
    if section not in results.sections:
        return [NOT_MEASURED + "\n"]
    brokers = [name for name in bridge.BRIDGING if name in results.brokers(section)]
    ours = [name for name in bridge.OURS if name in brokers]
    rows = []
    for row in bridge.ROWS:
        if not list(results.find(section, row.key)):
            continue
        ratios = [shown(bridge.ratio(results, row, name)) for name in ours]
        met = ", ".join(WORDS[bridge.is_met(results, row, name)] for name in ours)
        figures = [bridge.figure(results, row, name) for name in brokers]
        goal = str(row.goal) if row.goal is not None else "-"
        rows.append([row.title, str(row.qos), _heading(row.remote), *figures, *ratios, goal, met])
    names = {"plain": "pybroker", "compiled": "compiled"}
    head = [
        *("messages", "QoS", "remote broker"),
        *map(_heading, brokers),
        *(f"{names[name]} / mosquitto" for name in ours),
        "goal",
        "met",
    ]
    return [
        _circumstances(results.facts(section)),
        "Messages per second of the CPU time of the broker that has the bridge, MQTT 3.1.1,"
        f" {bridge.PUBLISHING} publishers with a topic each, payloads of {bridge.SIZE} bytes. The remote"
        " brokers run on the core of the load generator. No broker bounds the messages in flight.\n",
        "The last rows: messages of QoS 1 were published while the remote broker was away, and are sent"
        f" once it is there; payloads of {bridge.QUEUED_SIZE} bytes.\n",
        _table(head, rows),
    ]


def _pushers(results: Results) -> list[str]:
    section = pushers.SECTION
    if section not in results.sections:
        return [NOT_MEASURED + "\n"]
    off = results.median(section, f"{pushers.PUBACK} off", "pybroker", "p99_us")
    rows = []
    for name, place in pushers.PLACES.items():
        rounds = list(results.find(section, name))
        rate = results.median(section, name, "pybroker", "per_cpu_s")
        lost = sum(values.get("lost", 0) for values in rounds)
        sent = sum(values.get("events", 0) for values in rounds) + lost
        met = None if place.goal is None or rate is None else rate >= place.goal and not lost
        aim = "-" if place.goal is None else f"at least {shown(place.goal)}, none lost"
        rows.append([name, shown(rate), f"{lost:,} of {sent:,}", aim, WORDS[met]])
    waits = [["no event pusher", shown(off, "us"), "-"]]
    for case in pushers.PUBACK_CASES[1:]:
        p99 = results.median(section, f"{pushers.PUBACK} {case}", "pybroker", "p99_us")
        waits.append([case, shown(p99, "us"), f"{p99 / off:.2f}" if p99 and off else "-"])
    return [
        _circumstances(results.facts(section)),
        "Events acknowledged by a real server (Kafka: librdkafka's mock cluster) in a burst, per second "
        "of the broker's CPU time:\n",
        _table(["", "events", "lost", "goal", "met"], rows),
        "Time until a publisher at QoS 1 has its PUBACK; the goal is at most "
        f"{pushers.PUBACK_GOAL} times that without event pushers:\n",
        _table(["", "p99", "times"], waits),
    ]


def _pubacks(results: Results) -> list[list[str]]:
    rows = []
    for case, title in webhook.PUBACK_CASES.items():
        row = f"{webhook.PUBACK} {case}"
        quantiles = [
            shown(results.median(webhook.SECTION, row, "pybroker", key), "us") for key in ("p50_us", "p99_us")
        ]
        rows.append([title, *quantiles])
    return rows


def _puback_verdict(results: Results) -> str:
    off, hanging = (
        results.median(webhook.SECTION, f"{webhook.PUBACK} {case}", "pybroker", "p99_us")
        for case in ("off", "hanging")
    )
    if not off or hanging is None:
        return NOT_MEASURED + "\n"
    ratio, goal = hanging / off, webhook.PUBACK_GOAL
    return (
        f"While the endpoint hangs, p99 is {ratio:.2f} times that without webhooks; the goal is at most "
        f"{goal}:"
        f" {'met' if ratio <= goal else '**not met**'}.\n"
    )
