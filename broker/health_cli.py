"""`pybroker health`: whether a running broker answers, for health checks of containers."""

from __future__ import annotations

import argparse
import sys

from .which_cli import FindInstance, add_which

TIMEOUT = 3.0
"""Seconds; a broker that takes longer for one line is not well."""


def add_health(commands: argparse._SubParsersAction[argparse.ArgumentParser], find: FindInstance) -> None:
    health = commands.add_parser(
        "health",
        help="whether a running broker answers",
        description="Ask the running broker of this user how it is: status 0 when it answers, else 1.",
    )
    add_which(health)
    health.set_defaults(run=lambda options: _run(options, find))


def _run(options: argparse.Namespace, find: FindInstance) -> int:
    from .control import ControlError, ask

    instance = find(options.conf, options.pid)
    if instance is None:
        return 1
    try:
        print(ask(instance.control, "health", timeout=TIMEOUT))
    except ControlError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return 1
    return 0
