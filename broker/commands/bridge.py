"""`pybroker bridge status`: show the state of the running broker's bridges."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from .options import Commands, add_which, find_instance


def add_bridge(commands: Commands) -> None:
    bridge = commands.add_parser("bridge", help="bridges to other brokers")
    below = bridge.add_subparsers(metavar="COMMAND", required=True)
    status = below.add_parser("status", help="show how the bridges of the running broker are")
    add_which(status)
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=_status)


def _status(options: argparse.Namespace) -> int:
    from ..process.control import ControlError, ask

    instance = find_instance(options.conf, options.pid)
    if instance is None:
        return 1
    try:
        found: list[dict[str, Any]] = ask(instance.control, "bridge status")
    except ControlError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(found, indent=2))
    elif not found:
        print("no bridges")
    else:
        print("\n".join(line for one in found for line in _lines(one, time.time())))
    return 0


def _lines(bridge: dict[str, Any], now: float) -> list[str]:
    counters = bridge["counters"]
    state = f"{bridge['state']} for {max(0, now - bridge['since']):.0f} s"
    lines = [f"{bridge['name']}: {state}, {bridge['server'] or 'no server yet'}"]
    if bridge["last_error"]:
        lines.append(f"  last error: {bridge['last_error']}")
    if bridge["next_try"] is not None:
        lines.append(f"  next try in {max(0, bridge['next_try'] - now):.1f} s")
    lines.append(
        f"  waiting: {bridge['queued']}, sent: {counters['sent']}, received: {counters['received']},"
        f" links: {counters['connects']}"
    )
    dropped = ", ".join(f"{reason} {count}" for reason, count in counters["dropped"].items())
    if dropped:
        lines.append(f"  not passed on: {dropped}")
    return lines
