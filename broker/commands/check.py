"""`pybroker check`: what a configuration would serve."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .options import BAD_CONFIGURATION, Commands, add_conf, load_settings

if TYPE_CHECKING:
    from ..config.settings import Settings


def add_check(commands: Commands) -> None:
    check = commands.add_parser(
        "check",
        help="say what a configuration would serve, and what is wrong with it",
        description="Read the configuration, print what would be served and every warning; bind nothing.",
    )
    add_conf(check)
    check.add_argument("--strict", action="store_true", help="exit with 1 where there is any warning")
    check.set_defaults(run=_run)


def _what_cannot_work(settings: Settings) -> str | None:
    """Of the endpoints: callables, backends, libraries and certificates that cannot be loaded."""
    from pybroker.webhook import SettingsError, Sink
    from pybroker.webhook.http.client import TlsError

    try:
        Sink(settings.endpoints)
    except (SettingsError, TlsError) as error:
        return str(error)
    return None


def _run(options: argparse.Namespace) -> int:
    from ..config import describe

    settings = load_settings(options)
    if settings is None:
        return BAD_CONFIGURATION
    if wrong := _what_cannot_work(settings):
        print(f"pybroker: {wrong}", file=sys.stderr)
        return BAD_CONFIGURATION
    for line in describe(settings):
        print(line)
    for warning in settings.warnings:
        print(f"warning: {warning}")
    return 1 if options.strict and settings.warnings else 0
