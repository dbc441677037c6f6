"""`pybroker stop`: stop a running broker."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from .options import Commands, add_which, find_instance

if TYPE_CHECKING:
    from ..process.instances import Instance

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
    instance = find_instance(options.conf, options.pid)
    return 0 if instance is not None and stop_instance(instance) else 1


def stop_instance(instance: Instance) -> bool:
    """Stop the broker, wait until it has ended, and print the result."""
    from ..process.instances import running

    os.kill(instance.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while time.monotonic() < deadline:
        if instance not in running():
            print(f"stopped (pid {instance.pid})")
            return True
        time.sleep(0.02)
    print(f"pybroker: pid {instance.pid} did not stop within {STOP_TIMEOUT:g} s", file=sys.stderr)
    return False
