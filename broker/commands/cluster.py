"""`pybroker cluster status`: show how each node of the running broker is."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from .options import Commands, add_which, find_instance
from .shown import shown_bytes, shown_time

TIMEOUT = 5.0
"""Seconds that the first node may take to answer; it does not ask the others, which tell it each second."""
COLUMNS = (
    "node",
    "up",
    "clients",
    "sessions",
    "subscriptions",
    "retained",
    "queued",
    "in/s",
    "out/s",
    "waiting",
    "memory",
    "CPU",
)


def add_cluster(commands: Commands) -> None:
    cluster = commands.add_parser("cluster", help="the nodes of a broker of several: workers or hosts")
    below = cluster.add_subparsers(metavar="COMMAND", required=True)
    status = below.add_parser(
        "status",
        help="show how each node of the running broker is",
        description="Show each node of the running broker, worker or host: its clients, its rates, what the "
        "others hold for it (waiting), its memory. One that does not answer is named; then the status is 1.",
    )
    add_which(status)
    add = status.add_argument
    add(
        "--interval",
        type=float,
        default=1.5,
        metavar="SECONDS",
        help="the time over which rates are measured (%(default)s)",
    )
    add("--json", action="store_true", help="print JSON, without waiting for rates")
    status.set_defaults(run=_status)


def _status(options: argparse.Namespace) -> int:
    from ..process.control import ControlError, ask

    instance = find_instance(options.conf, options.pid)
    if instance is None:
        return 1
    if not 0 <= options.interval <= 3600:
        print("pybroker: --interval is from 0 to 3600 seconds", file=sys.stderr)
        return 2

    def look() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ask(instance.control, "cluster status", timeout=TIMEOUT)
        return found

    try:
        found = before = look()
        if not options.json:
            time.sleep(options.interval)
            found = look()
    except ControlError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(table(before, found, time.time())))
    return 0 if all(one["answers"] for one in found) else 1


def table(before: list[dict[str, Any]], now: list[dict[str, Any]], time_now: float) -> list[str]:
    """The lines to print: a node each, then the nodes that do not answer. Rates are those between the two."""
    earlier = {one["name"]: one for one in before}
    rows = [COLUMNS, *(_row(earlier.get(one["name"], {}), one, time_now) for one in now)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    for one in now:
        if not one["answers"]:
            last = ", its numbers are as of then" if "at" in one else ""
            lines.append(
                f"{one['name']} does not answer: its last word came {shown_time(one['silent_for'])} ago{last}"
            )
    return lines


def _row(before: dict[str, Any], now: dict[str, Any], time_now: float) -> tuple[str, ...]:
    def count(key: str) -> str:
        return "-" if now.get(key) is None else f"{now[key]:,}"

    def rate(key: str, unit: float = 1.0) -> str:
        seconds = now.get("at", 0) - before.get("at", 0)
        if not now["answers"] or not before.get("at") or seconds <= 0 or now[key] < before[key]:
            return "-"
        return f"{(now[key] - before[key]) / seconds * unit:,.0f}"

    cpu = rate("cpu_seconds", 100)
    return (
        now["name"],
        _up(now, time_now),
        *(count(key) for key in ("clients", "sessions", "subscriptions", "retained", "queued")),
        rate("messages_received"),
        rate("messages_sent"),
        shown_bytes(now["waiting_bytes"]),
        "-" if now.get("memory_bytes") is None else shown_bytes(now["memory_bytes"]),
        cpu if cpu == "-" else f"{cpu} %",
    )


def _up(node: dict[str, Any], time_now: float) -> str:
    if not node["answers"]:
        return "no answer"
    since = node["up_since"]
    return "-" if since is None else shown_time(max(0.0, time_now - since))
