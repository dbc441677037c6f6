"""Replaces the configuration file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, content: bytes, check: Callable[[Path], object]) -> None:
    """Write ``content`` beside ``path``, let ``check`` read it there, where includes are found as before, and
    put it in place of ``path`` at one stroke, with its mode. Raises what ``check`` raises, and OSError; then
    ``path`` is as it was."""
    target = path.resolve()
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    new = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        check(new)
        new.chmod(target.stat().st_mode & 0o777)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
