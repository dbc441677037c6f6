"""Keeps a flood of lines, as of clients that come and go thousands of times a second, out of the log."""

from __future__ import annotations

import asyncio
import logging
import time

from ..engine.rates import Bucket

LINES_PER_SECOND = 200
"""Of each kind, at info and above; as many may come at once."""
TELL_AFTER = 1.0
"""Seconds until it is told how many were left out."""


class Kind:
    """Lines made from one text, with different values."""

    __slots__ = ("bucket", "last", "left_out")

    def __init__(self, now: float) -> None:
        self.bucket = Bucket(LINES_PER_SECOND, now)
        self.left_out = 0
        """Lines since the last one that was let through."""
        self.last: logging.LogRecord | None = None
        """The last of them."""


class Flood(logging.Filter):
    """A filter for one logger. Debug and trace are for those who want every line: those are let through."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self.logger = logger
        self._kinds: dict[str, Kind] = {}
        """By the text, as it stands in the source: there are not many."""
        self._timer: asyncio.TimerHandle | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.INFO:
            return True
        now = time.monotonic()
        kind = self._kinds.get(record.msg)
        if kind is None:
            kind = self._kinds[record.msg] = Kind(now)
        if kind.last is None and kind.bucket.has_one(now):
            return True
        if kind.last is not None:
            kind.left_out += 1
        kind.last = record
        self._plan()
        return False

    def flush(self) -> None:
        """Tell how many lines were left out, with the last of them for an example."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
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
            except RuntimeError:  # nothing runs any more: who stops the log flushes
                return
            self._timer = loop.call_later(TELL_AFTER, self.flush)
