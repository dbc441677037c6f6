"""Shared by the sub-commands: the selection of endpoints, and errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from ..metrics import EndpointStats
from ..settings import WebhookSettings

Subparsers = argparse._SubParsersAction  # argparse has no public name for it
AddConf = Callable[[argparse.ArgumentParser], None]
Load = Callable[[argparse.Namespace], Sequence[WebhookSettings] | None]
"""The endpoints of the configuration; None, with the error printed, where it cannot be read."""
AskStats = Callable[[argparse.Namespace], Sequence[EndpointStats] | None]
"""The counters of the running broker; None, with the error printed, where none answers."""

BAD_CONFIGURATION = 2


def chosen(options: argparse.Namespace, load: Load) -> list[WebhookSettings] | None:
    """The enabled endpoints, or the one that --endpoint names; None, with the error printed."""
    settings = load(options)
    if settings is None:
        return None
    enabled = [one for one in settings if one.enable]
    if options.endpoint is None:
        if not enabled:
            fail(f"no {options.what} is enabled in this configuration")
        return enabled or None
    found = [one for one in enabled if one.name == options.endpoint]
    if not found:
        names = ", ".join(one.name for one in enabled) or "none"
        fail(f'there is no {options.what} "{options.endpoint}"; there is {names}')
    return found or None


def fail(message: str) -> int:
    print(f"pybroker: {message}", file=sys.stderr)
    return BAD_CONFIGURATION
