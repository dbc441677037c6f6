"""Limits repeated log lines, such as those of clients that connect thousands of times a second."""

from __future__ import annotations

import asyncio
import logging
import time

from ..engine.rates import Bucket

LINES_PER_SECOND = 200
"""The lines per second of each kind, at info and above; as many may come at once."""
TELL_AFTER = 1.0
"""Seconds until a line says how many were left out."""
MAX_KINDS = 1000
"""The most kinds that are told apart. There are about ten, unless a plugin puts values into the text of its
lines."""


class Kind:
    """Log lines with the same text and different values."""

    __slots__ = ("bucket", "last", "left_out")

    def __init__(self, now: float) -> None:
        self.bucket = Bucket(LINES_PER_SECOND, now)
        self.left_out = 0
        """Lines since the last one that was let through."""
        self.last: logging.LogRecord | None = None
        """The last of them."""


class Flood(logging.Filter):
    """A filter for one logger. Lines at debug and trace always pass, for people who want every line."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self.logger = logger
        self._kinds: dict[str, Kind] = {}
        """By the text in the source, before values are filled in; there are few."""
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0
        """When the first of the lines was left out that have not been reported yet."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.INFO:
            return True
        now = time.monotonic()
        if self._since and now - self._since > 2 * TELL_AFTER:  # no event loop has done it
            self.flush()
        text = record.msg if len(self._kinds) < MAX_KINDS else ""
        kind = self._kinds.get(text)
        if kind is None:
            kind = self._kinds[text] = Kind(now)
        if kind.last is None and kind.bucket.has_one(now):
            return True
        if kind.last is not None:
            kind.left_out += 1
        kind.last = record
        self._since = self._since or now
        self._plan()
        return False

    def flush(self) -> None:
        """Log how many lines were left out, with the last of them as an example."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._since = 0.0
        for kind in self._kinds.values():
            record, kind.last = kind.last, None
            if record is not None:
                record.msg = f"{record.getMessage()} ({kind.left_out} more such lines were left out)"
                record.args = None
                kind.left_out = 0
                self.logger.callHandlers(record)

    def _plan(self) -> None:
        if self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # a thread: the next line tells, or the end of the log
                return
            self._timer = loop.call_later(TELL_AFTER, self.flush)
