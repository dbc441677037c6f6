"""`pybroker restart`: stop a running broker and start a new one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .options import BAD_CONFIGURATION, Commands, find_instance
from .start import add_start_options, prepare
from .stop import stop_instance


def add_restart(commands: Commands) -> None:
    restart = commands.add_parser(
        "restart",
        help="stop the running broker and start a new one",
        description="Stop the running broker of this user and start a new one, with the flags of "
        "`start`, and with the same file unless --conf names another. The file is checked first: if a "
        "start would fail, the running broker continues. If no broker is running, this is `start`.",
    )
    add_start_options(restart)
    restart.add_argument("--pid", type=int, metavar="PID", help="the running broker with this process number")
    restart.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..process.instances import running
    from ..process.preflight import preflight
    from ..process.serve import serve

    before = None
    if options.pid is not None or running(options.conf):
        before = find_instance(options.conf, options.pid)
        if before is None:
            return 1
        if options.conf is None and before.conf is not None:
            options.conf = Path(before.conf)
    wanted = prepare(options)
    problems = preflight(wanted[0]) if wanted else []
    for problem in problems:
        print(f"pybroker: {problem}", file=sys.stderr)
    if wanted is None or problems:
        if before is not None:
            print(f"pybroker: the running broker (pid {before.pid}) continues", file=sys.stderr)
        return BAD_CONFIGURATION
    if before is None:
        print("no broker is running; starting one", flush=True)
    elif not stop_instance(before):
        return 1
    return serve(*wanted)
