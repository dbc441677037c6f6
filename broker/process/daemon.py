"""Detaches from the terminal, for `system.daemon` or ``pybroker start -d``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def to_background() -> Callable[[], None]:
    """Continue in the background, where this returns; call the returned function once the broker is ready.

    The process that the user has started waits for that call and exits with status 0, or with 1 if the
    background process ended without it. Until then both can write to the terminal, afterwards neither.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        os.waitpid(child, 0)
        raise SystemExit(0 if os.read(reader, 1) else 1)
    os.close(reader)
    os.setsid()
    if os.fork():
        os._exit(0)  # so that this process never gets a controlling terminal again

    def ready() -> None:
        leave_terminal()
        os.write(writer, b"1")
        os.close(writer)

    return ready


def leave_terminal() -> None:
    """Stop reading from the terminal and writing to it."""
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
