"""`pybroker webhook` and `pybroker events`: the webhook package's commands, with access to the running
broker."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pybroker.webhook.commands.main import add_event_commands, add_webhook_commands
from pybroker.webhook.metrics import EndpointStats
from pybroker.webhook.settings import WebhookSettings

from ..process.control import ControlError, ask
from .options import Commands, add_conf, add_which, find_instance, load_settings


def add_webhook(commands: Commands) -> None:
    add_webhook_commands(commands, add_conf, add_which, _webhooks, _stats_of_webhooks)


def add_events(commands: Commands) -> None:
    add_event_commands(commands, add_conf, add_which, _endpoints, _stats)


def _endpoints(options: argparse.Namespace) -> Sequence[WebhookSettings] | None:
    settings = load_settings(options)
    return None if settings is None else settings.endpoints


def _webhooks(options: argparse.Namespace) -> Sequence[WebhookSettings] | None:
    settings = load_settings(options)
    return None if settings is None else settings.webhooks


def _stats_of_webhooks(options: argparse.Namespace) -> Sequence[EndpointStats] | None:
    stats = _stats(options)
    return None if stats is None else [one for one in stats if one.section == "webhook"]


def _stats(options: argparse.Namespace) -> Sequence[EndpointStats] | None:
    instance = find_instance(options.conf, options.pid)
    if instance is None:
        return None
    try:
        return [EndpointStats.from_dict(values) for values in ask(instance.control, "webhook status")]
    except ControlError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return None
