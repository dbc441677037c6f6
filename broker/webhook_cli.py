"""`pybroker webhook`: the commands of the webhook package, with what they need of a running broker."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from webhook.commands import add_commands
from webhook.metrics import EndpointStats
from webhook.settings import WebhookSettings

from .control import ControlError, ask
from .which_cli import FindInstance

if TYPE_CHECKING:
    from .config import Settings

AddConf = Callable[[argparse.ArgumentParser], None]
LoadSettings = Callable[[argparse.Namespace, dict[str, object]], "Settings | None"]


def add_webhook(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    add_conf: AddConf,
    load: LoadSettings,
    find: FindInstance,
) -> None:
    add_commands(commands, add_conf, partial(_endpoints, load), partial(_stats, find))


def _endpoints(load: LoadSettings, options: argparse.Namespace) -> Sequence[WebhookSettings] | None:
    settings = load(options, {})
    return None if settings is None else settings.webhooks


def _stats(find: FindInstance, options: argparse.Namespace) -> Sequence[EndpointStats] | None:
    instance = find(options.conf, None)
    if instance is None:
        return None
    try:
        return [EndpointStats.from_dict(values) for values in ask(instance.control, "webhook status")]
    except ControlError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return None
