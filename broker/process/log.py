"""Sets up the log: its destinations and formats."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from ..config.settings import LogSettings
from ..parts.activity import TRACE
from ..printable import printable
from .flood import Flood

LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
worker: int | None = None
"""The number of this worker, from 1 on, which each line shows; 0 is the supervisor."""
OURS = ("pybroker", "amqtt")
"""The loggers that `log.level` applies to."""
SYSLOG = "/dev/log"
SYSLOG_TEXT = "%(levelname)s %(name)s: %(message)s"
TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

_floods = [
    Flood(logging.getLogger(name)) for name in ("pybroker.clients", "pybroker.access", "pybroker.rest")
]
"""The filters of the loggers whose lines clients can cause."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (milliseconds), level, logger, message, and the error where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": int(record.created * 1000),
            "level": record.levelname.lower(),
            **({"worker": worker} if worker else {}),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        text = json.dumps(line, ensure_ascii=False)
        return text if text.isprintable() else json.dumps(line)


class TextFormatter(logging.Formatter):
    """One line a message: a line break in a client's name does not begin a new line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.message = printable(record.message, keep="\t")
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        """Indented, as a line of it may be a client's words."""
        return "\n".join(f"  {printable(line)}" for line in super().formatException(ei).splitlines())


def _not_printed(record: logging.LogRecord) -> bool:
    """Whether standard output has not said it: see :func:`also_printed`."""
    return not getattr(record, "printed", False)


def also_printed(text: str, level: int = logging.INFO) -> None:
    """Also log the lines that the command prints, but not to the same terminal again."""
    logging.getLogger("pybroker").log(level, "%s", text, extra={"printed": True})


class _Syslog(logging.handlers.SysLogHandler):
    """Names our levels."""

    priority_map: ClassVar = {
        **logging.handlers.SysLogHandler.priority_map,
        "TRACE": "debug",
        "WARN": "warning",
        "FATAL": "critical",
    }


def configure(settings: LogSettings) -> None:
    """Set up the log by ``settings``, and close the previous destinations. Raises OSError for a destination
    that cannot be written."""
    use(settings, open_handlers(settings))


def spare() -> None:
    """Do not look up the source line, thread and process of each log line, which no format shows. The look-up
    takes a third of a line's time. This holds for the whole process, so only a program may call it, not a
    library."""
    logging._srcfile = None  # the documented way, in Python's logging HOWTO
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def open_handlers(settings: LogSettings) -> list[logging.Handler]:
    """Open the destinations of ``settings``, for :func:`use`. Raises OSError; then none is open."""
    handlers: list[logging.Handler] = []
    try:
        _open_into(handlers, settings)
    except OSError:
        close(handlers)
        raise
    for handler in handlers:
        text = SYSLOG_TEXT if isinstance(handler, logging.handlers.SysLogHandler) else TEXT
        if worker:
            text = text.replace(" %(name)s:", f" [{worker}] %(name)s:")
        handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter(text))
    return handlers


def use(settings: LogSettings, handlers: list[logging.Handler]) -> None:
    """Log to ``handlers`` from now on, and close the previous ones."""
    logging.addLevelName(LEVELS["trace"], "TRACE")
    logging.addLevelName(logging.WARNING, "WARN")
    logging.addLevelName(logging.CRITICAL, "FATAL")
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers[:] = handlers or [logging.NullHandler()]
    close(before)
    level = LEVELS[settings.level]
    root.setLevel(max(level, logging.WARNING))  # libraries speak up only when it matters
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for flood in _floods:
        flood.logger.addFilter(flood)


def flush() -> None:
    """Log how many lines were left out under a flood, before the log ends."""
    for flood in _floods:
        flood.flush()


def close(handlers: Iterable[logging.Handler]) -> None:
    """Close opened destinations."""
    for handler in handlers:
        handler.close()


def _open_into(handlers: list[logging.Handler], settings: LogSettings) -> None:
    if "console" in settings.to:
        console = logging.StreamHandler(sys.stderr)
        console.addFilter(_not_printed)
        handlers.append(console)
    if "file" in settings.to:
        handlers.append(_file(settings))
    if "syslog" in settings.to:
        handlers.append(_syslog())


def _file(settings: LogSettings) -> logging.Handler:
    settings.dir.mkdir(parents=True, exist_ok=True)
    if worker is not None and worker != 1:  # the first worker rotates the file, and the others follow
        return logging.handlers.WatchedFileHandler(settings.dir / settings.file, encoding="utf-8")
    handler = logging.handlers.RotatingFileHandler(
        settings.dir / settings.file,
        maxBytes=settings.rotation_size,
        backupCount=settings.rotation_count,
        encoding="utf-8",
    )
    if not settings.rotation_count:
        handler.mode = "w"  # no older file is kept: the file is emptied
    return handler


def _syslog() -> logging.Handler:
    if not Path(SYSLOG).is_socket():
        raise FileNotFoundError(f"syslog does not listen on {SYSLOG}")
    handler = _Syslog(address=SYSLOG)
    handler.ident = f"pybroker[{os.getpid()}]: "
    return handler
