"""Rate-limited log lines about failures that may happen thousands of times a second."""

from __future__ import annotations

import logging

from .clock import Clock

log = logging.getLogger("pybroker.webhook")


class Complaints:
    """Logs each kind of failure when it first happens, then at most once in ``every`` seconds with a
    count."""

    def __init__(self, label: str, clock: Clock, every: float = 10.0) -> None:
        self._label = label
        self._clock = clock
        self._every = every
        self._kinds: dict[str, tuple[float, int]] = {}
        """The time at which each kind was last logged, and the number of failures since."""

    def warn(self, kind: str, message: str, exc_info: bool = False) -> None:
        now = self._clock.monotonic()
        last, silent = self._kinds.get(kind, (None, 0))
        if last is not None and now - last < self._every:
            self._kinds[kind] = last, silent + 1
            return
        more = f" ({silent} more since the last such line)" if silent else ""
        self._kinds[kind] = now, 0
        log.warning("%s: %s%s", self._label, message, more, exc_info=exc_info)
