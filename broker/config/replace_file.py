"""Replaces the configuration file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, content: bytes, check: Callable[[Path], object]) -> None:
    """Write ``content`` beside ``path``, so that includes are found. Let ``check`` read it there, and then
    rename it to ``path`` with the same mode. Raises what ``check`` raises, and OSError; then ``path`` is
    unchanged."""
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
