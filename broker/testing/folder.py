"""A temporary folder for the files of test brokers, removed when the process ends."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder() -> Path:
    """The same for the whole process; only this user can look into it."""
    made = Path(tempfile.mkdtemp(prefix="pybroker-testing-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
