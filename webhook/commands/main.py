"""`pybroker webhook ...` and `pybroker events ...`, for the command line to add."""

from __future__ import annotations

import argparse

from .dead import add_dead
from .endpoints import AddConf, AskStats, Load, Subparsers
from .listen import add_listen
from .status import add_status
from .test import add_test


def add_webhook_commands(
    commands: Subparsers[argparse.ArgumentParser],
    add_conf: AddConf,
    add_which: AddConf,
    load: Load,
    ask_stats: AskStats,
) -> None:
    """Add ``webhook`` to ``commands``; each parser sets ``run``, from the options to an exit status.
    ``add_conf`` adds the option that names a file, ``add_which`` those that say which running broker."""
    webhook = commands.add_parser(
        "webhook",
        help="test webhooks, manage dead letters, show counters",
        description="Test webhooks, manage dead letters, show the counters of the running broker.",
    )
    webhook.set_defaults(what="webhook")
    inner = webhook.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_listen(inner)
    add_test(inner, add_conf, load)
    add_dead(inner, add_conf, load)
    add_status(inner, add_which, ask_stats)


def add_event_commands(
    commands: Subparsers[argparse.ArgumentParser],
    add_conf: AddConf,
    add_which: AddConf,
    load: Load,
    ask_stats: AskStats,
) -> None:
    """Add ``events``: the same for all endpoints, webhooks and event pushers alike."""
    events = commands.add_parser(
        "events",
        help="the same for webhooks and event pushers",
        description="Test webhooks and event pushers, manage dead letters, show the counters "
        "of the running broker.",
    )
    events.set_defaults(what="webhook or event pusher")
    inner = events.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_test(inner, add_conf, load)
    add_dead(inner, add_conf, load)
    add_status(inner, add_which, ask_stats)
