"""Whether the other threads of this process have anything to do."""

from __future__ import annotations

import os
from pathlib import Path
from threading import get_native_id

THREADS = Path("/proc/self/task")


def other_threads_sleep() -> bool:
    """Whether each other thread waits for something. False where that cannot be known: only Linux tells.

    A thread that waits for the interpreter's lock does not sleep: reading a file hands the lock over, which
    wakes it.
    """
    own = str(get_native_id())
    try:
        return all(_sleeps(thread) for thread in os.listdir(THREADS) if thread != own)  # noqa: PTH208 - names
    except OSError:
        return False


def _sleeps(thread: str) -> bool:
    try:
        status = (THREADS / thread / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended
    # The name in brackets may have any character; the state follows it: proc(5).
    return status[status.rindex(b")") + 2 :][:1] == b"S"
