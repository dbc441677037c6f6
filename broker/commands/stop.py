"""`pybroker stop`: end a running broker."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from .options import Commands, add_which, find_instance

STOP_TIMEOUT = 30.0


def add_stop(commands: Commands) -> None:
    stop = commands.add_parser(
        "stop",
        help="stop a running broker",
        description="Stop the running broker of this user and wait until it is gone.",
    )
    add_which(stop)
    stop.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..process.instances import running

    instance = find_instance(options.conf, options.pid)
    if instance is None:
        return 1
    os.kill(instance.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while time.monotonic() < deadline:
        if instance not in running():
            print(f"stopped (pid {instance.pid})")
            return 0
        time.sleep(0.02)
    print(f"pybroker: pid {instance.pid} did not stop within {STOP_TIMEOUT:g} s", file=sys.stderr)
    return 1
