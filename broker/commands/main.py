"""The command `pybroker` and the list of its sub-commands, each of which has its own file beside this one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from .bridge import add_bridge
from .check import add_check
from .cluster import add_cluster
from .convert import add_convert
from .faults import add_faults
from .health import add_health
from .passwd import add_passwd
from .pub import add_pub
from .reload import add_reload
from .restart import add_restart
from .run import add_run
from .start import add_start
from .state import add_state
from .stop import add_stop
from .sub import add_sub
from .top import add_top
from .version import add_version

BROKEN_PIPE = 141
INTERRUPTED = 130
"""The exit statuses of a shell's command that SIGPIPE or SIGINT has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status."""
    if arguments is None:
        arguments = sys.argv[1:]
    try:
        try:
            options = parser(arguments).parse_args(arguments)
            status: int = options.run(options)
            return status
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        from ..process.output import abandon_output

        abandon_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED


def parser(arguments: Sequence[str] = ("webhook",)) -> argparse.ArgumentParser:
    """Made for these arguments: the parts of `webhook` and `events` are left out of another command."""
    parser = argparse.ArgumentParser(
        prog="pybroker",
        description="An MQTT 3.1, 3.1.1 and 5.0 broker with built-in webhooks, configured by a nanomq.conf.",
        epilog="Each command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=f"pybroker {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        add_start,
        add_check,
        add_convert,
        add_stop,
        add_restart,
        add_reload,
        add_passwd,
        add_pub,
        add_sub,
        add_run,
        add_faults,
        add_health,
        add_bridge,
        add_cluster,
        add_top,
        add_state,
    ):
        add(commands)
    if arguments and arguments[0] in ("webhook", "events"):
        from .webhook import add_events, add_webhook  # a while to import, and the others can do without

        add_webhook(commands)
        add_events(commands)
    else:
        commands.add_parser("webhook", help="test webhooks, manage dead letters, show counters")
        commands.add_parser("events", help="the same for webhooks and event pushers")
    add_version(commands)
    return parser
