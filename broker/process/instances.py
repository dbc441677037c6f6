"""The running brokers of this user on this machine, found by the files they write."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PID_VARIABLE = "PYBROKER_PID"
"""Set by `pybroker run` for the command that it runs: the process id of the broker to use."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One running broker."""

    pid: int
    conf: str | None
    listeners: list[dict[str, Any]]
    control: str
    """Its control socket."""


def runtime_dir() -> Path:
    """The directory for the files and sockets of running brokers, which only this user can open. It may be a
    symlink of this user; a symlink of another user could lead to any of our directories. Raises
    PermissionError if the directory cannot be trusted, OSError if it cannot be made."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "pybroker" if base else Path(tempfile.gettempdir()) / f"pybroker-{os.getuid()}"
    advice = "remove it, or set XDG_RUNTIME_DIR"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{path} is not a directory; {advice}") from None
    if path.lstat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user; {advice}")
    facts = path.stat()
    if facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise PermissionError(f"{path} is open to other users; {advice}")
    return path


def write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON beside ``path`` and rename it into place: a reader sees all of it or nothing."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content) + "\n", encoding="utf-8")
    beside.replace(path)


def announce(instance: Instance) -> Path:
    """Write the file by which :func:`running` finds this broker; the caller removes it on exit."""
    path = runtime_dir() / f"{instance.pid}.json"
    write_whole(path, asdict(instance))
    return path


def running(conf: Path | None = None) -> list[Instance]:
    """The running brokers, oldest first; with ``conf`` only those that serve this file."""
    found = []
    for path in sorted(runtime_dir().glob("*.json"), key=lambda p: p.stat().st_mtime):
        try:
            instance = Instance(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            continue
        if not _alive(instance.pid):
            path.unlink(missing_ok=True)
            Path(instance.control).unlink(missing_ok=True)
        elif conf is None or instance.conf == str(conf.resolve()):
            found.append(instance)
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
