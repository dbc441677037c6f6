"""`pybroker check`: list what a configuration would serve, and its errors."""

from __future__ import annotations

import argparse
import sys

from .options import BAD_CONFIGURATION, Commands, add_conf, load_settings


def add_check(commands: Commands) -> None:
    check = commands.add_parser(
        "check",
        help="list what a configuration would serve, and its errors",
        description="Read the configuration, print what it would serve, and every warning. Certificates, "
        "keys, password hashes, plugins and webhook filters are loaded, as at a start; nothing is bound or "
        "written.",
    )
    add_conf(check)
    check.add_argument("--strict", action="store_true", help="exit with status 1 if there is any warning")
    check.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..config import describe
    from ..process.preflight import preflight

    settings = load_settings(options)
    if settings is None:
        return BAD_CONFIGURATION
    for line in describe(settings):
        print(line)
    for warning in settings.warnings:
        print(f"warning: {warning}")
    problems = preflight(settings)
    for problem in problems:
        print(f"pybroker: {problem}", file=sys.stderr)
    if problems:
        return BAD_CONFIGURATION
    return 1 if options.strict and settings.warnings else 0
