"""Shared by several commands: the options that select a configuration, or a running broker."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ..config import Settings
    from ..process.instances import Instance

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The parser's sub-commands, to which a command is added."""

CONF_VARIABLE = "NANOMQ_CONF_PATH"
BAD_CONFIGURATION = 2
"""The exit status if the configuration, or an option, cannot be used."""


def add_conf(parser: argparse.ArgumentParser) -> None:
    """``--conf``, for commands that read a configuration."""
    parser.add_argument(
        "--conf",
        type=Path,
        metavar="FILE",
        help=f"the configuration, a nanomq.conf; by default ${CONF_VARIABLE}, or else the built-in defaults",
    )


def add_which(parser: argparse.ArgumentParser) -> None:
    """``--conf`` and ``--pid``, which select one of several running brokers."""
    parser.add_argument("--conf", type=Path, metavar="FILE", help="the broker that serves this file")
    parser.add_argument("--pid", type=int, metavar="PID", help="the broker with this process number")


def load_settings(options: argparse.Namespace, overrides: dict[str, object] | None = None) -> Settings | None:
    """The settings; None if there are problems, all of which have been printed."""
    from ..config import ConfigError, load

    path: Path | None = options.conf
    if path is None and (named := os.environ.get(CONF_VARIABLE)):
        path = Path(named)
    try:
        return load(path, overrides=overrides or {}, keys_of_environment=True)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None


def find_instance(conf: Path | None, pid: int | None) -> Instance | None:
    """The running broker that the options select; None if there is none, after printing the reason."""
    from ..process.instances import running

    try:
        found = [one for one in running(conf) if pid is None or one.pid == pid]
    except OSError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return None
    if len(found) == 1:
        return found[0]
    if not found:
        which = f" that serves {conf}" if conf else f" with pid {pid}" if pid else ""
        print(f"pybroker: no broker{which} is running for this user", file=sys.stderr)
    else:
        print("pybroker: several brokers are running; select one by --conf or --pid:", file=sys.stderr)
        for one in found:
            print(f"  pid {one.pid}  {one.conf or 'defaults'}", file=sys.stderr)
    return None
