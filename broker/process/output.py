"""The lines that a running broker prints, to its terminal and to the log."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

from . import log


def say(text: str, level: int = logging.INFO) -> None:
    """Print ``text``, and log it. A closed standard output is no error."""
    try:
        print(text, flush=True)
    except OSError:
        abandon_output()
    for line in text.splitlines():
        log.also_printed(line, level)


def complain(text: str, level: int = logging.ERROR) -> None:
    """The same on standard error."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    log.also_printed(text.strip(), level)


def fail(message: str, status: int = 1) -> int:
    """Print an error; returns the exit status."""
    complain(f"pybroker: {message}")
    return status


def abandon_output() -> None:
    """Discard later output: the reader of standard output has ended, as `| head` does."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
