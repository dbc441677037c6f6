"""`pybroker health`: check whether a running broker answers, for health checks of containers."""

from __future__ import annotations

import argparse
import sys

from .options import Commands, add_which, find_instance

TIMEOUT = 3.0
"""Seconds. A broker that takes longer to answer is not healthy."""


def add_health(commands: Commands) -> None:
    health = commands.add_parser(
        "health",
        help="check whether a running broker answers",
        description="Ask the running broker of this user how it is: status 0 when it answers, else 1.",
    )
    add_which(health)
    health.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..process.control import ControlError, ask

    instance = find_instance(options.conf, options.pid)
    if instance is None:
        return 1
    try:
        print(ask(instance.control, "health", timeout=TIMEOUT))
    except ControlError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return 1
    return 0
