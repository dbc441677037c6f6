"""Where log lines go, and how they read."""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from typing import Any

from .config.settings import LogSettings

LEVELS = {
    "trace": logging.DEBUG - 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (milliseconds), level, logger, message, and the error where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(settings: LogSettings) -> None:
    """Send the log where ``settings`` says; what was set before is closed. Raises OSError for a file
    that cannot be written."""
    logging.addLevelName(LEVELS["trace"], "TRACE")
    logging.addLevelName(logging.WARNING, "WARN")
    logging.addLevelName(logging.CRITICAL, "FATAL")
    handlers: list[logging.Handler] = []
    if "console" in settings.to:
        handlers.append(logging.StreamHandler(sys.stderr))
    if "file" in settings.to:
        settings.dir.mkdir(parents=True, exist_ok=True)
        handlers.append(
            logging.handlers.RotatingFileHandler(
                settings.dir / settings.file,
                maxBytes=settings.rotation_size,
                backupCount=settings.rotation_count,
                encoding="utf-8",
                delay=False,
            )
        )
    if "syslog" in settings.to:
        handlers.append(logging.handlers.SysLogHandler(address="/dev/log"))
    formatter = JsonFormatter() if settings.format == "json" else logging.Formatter(TEXT)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    for handler in handlers or [logging.NullHandler()]:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    level = LEVELS[settings.level]
    root.setLevel(max(level, logging.WARNING))  # libraries speak up only when it matters
    for name in ("broker", "webhook", "amqtt"):
        logging.getLogger(name).setLevel(level)
