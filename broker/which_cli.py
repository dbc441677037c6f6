"""Which running broker a command means: what `stop`, `reload`, `faults` and `health` have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .instances import Instance

FindInstance = Callable[[Path | None, int | None], "Instance | None"]
"""The one running broker that is meant; None after saying why there is none."""


def add_which(parser: argparse.ArgumentParser) -> None:
    """``--conf`` and ``--pid``, for whoever runs several brokers."""
    parser.add_argument("--conf", type=Path, metavar="FILE", help="the broker that serves this file")
    parser.add_argument("--pid", type=int, metavar="PID", help="the broker with this process number")
