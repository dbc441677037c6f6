"""`pybroker reload`: make a running broker read its file again."""

from __future__ import annotations

import argparse
import sys

from .options import Commands, add_which, find_instance

RELOAD_TIMEOUT = 120.0
"""Seconds. Webhook endpoints that are removed may take their `drain_timeout` to send their events."""


def add_reload(commands: Commands) -> None:
    reload = commands.add_parser(
        "reload",
        help="make a running broker read its configuration again",
        description="Make the running broker of this user read its file again. Print the changes, and those "
        "that need a restart. If the file has an error, nothing changes. SIGHUP does the same.",
    )
    add_which(reload)
    reload.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..process.control import ControlError, ask

    instance = find_instance(options.conf, options.pid)
    if instance is None:
        return 1
    try:
        lines = ask(instance.control, "reload", timeout=RELOAD_TIMEOUT)
    except ControlError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0
