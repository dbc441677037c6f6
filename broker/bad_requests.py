"""A logger for aiohttp's server: a request that is not HTTP is one line at info, instead of a traceback."""

from __future__ import annotations

import logging


def server_logger(name: str) -> logging.Logger:
    """The logger called ``name``, for ``aiohttp.web.Server``."""
    logger = logging.getLogger(name)
    logger.addFilter(_in_one_line)
    return logger


def _in_one_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and type(error).__module__ == "aiohttp.http_exceptions":
        # The message of the error has what came in it, which may be long.
        record.msg, record.args, record.exc_info = "a request is not HTTP (%s)", (type(error).__name__,), None
        record.levelno, record.levelname = logging.INFO, "INFO"
        return logging.getLogger(record.name).isEnabledFor(logging.INFO)
    return True
