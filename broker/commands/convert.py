"""`pybroker convert`: convert files of NanoMQ before 0.19 to today's format."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .options import BAD_CONFIGURATION, Commands

_DESCRIPTION = """\
Convert old NanoMQ files to today's format and print the result: the flat format (key=value) and the
HOCON of NanoMQ 0.14 to 0.18. Differences are listed on stderr, and in comments.

  pybroker convert nanomq.conf > new.conf
  pybroker check --conf new.conf

Name separate files of users, bridges or webhooks as well: the result is one file. It contains the
passwords unchanged; `pybroker passwd` replaces them by hashes."""


def add_convert(commands: Commands) -> None:
    convert = commands.add_parser(
        "convert",
        help="convert an old NanoMQ file",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.add_argument("files", nargs="+", type=Path, metavar="OLD", help="an old NanoMQ file")
    convert.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..config.old.convert import convert
    from ..config.old.errors import ConvertError

    files: list[Path] = options.files
    try:
        converted = convert(files)
    except ConvertError as error:
        print(error, file=sys.stderr)
        print("pybroker: nothing was converted", file=sys.stderr)
        return BAD_CONFIGURATION
    for note in converted.notes:
        print(note, file=sys.stderr)
    print(converted.text(files), end="")
    return 0
