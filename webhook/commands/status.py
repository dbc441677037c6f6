"""`pybroker webhook status`, `pybroker events status`: the counters of the running broker."""

from __future__ import annotations

import argparse
import json

from ..reports import render
from .endpoints import AddConf, AskStats, Subparsers


def add_status(
    commands: Subparsers[argparse.ArgumentParser], add_which: AddConf, ask_stats: AskStats
) -> None:
    status = commands.add_parser("status", help="show the counters of the running broker")
    add_which(status)
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=lambda options: _status(options, ask_stats))


def _status(options: argparse.Namespace, ask_stats: AskStats) -> int:
    stats = ask_stats(options)
    if stats is None:
        return 1
    if options.json:
        print(json.dumps([one.to_dict() for one in stats], indent=2))
    else:
        print(render(stats))
    return 0
