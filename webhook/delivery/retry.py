"""When a failed try is made again. Pure: time, randomness and answers are handed in."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from enum import Enum

from ..settings import Retry


class Verdict(Enum):
    """What an answer means for the event."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """The endpoint may take it later."""
    DEAD = "dead"
    """The endpoint will never take it."""
    DISABLE = "disable"
    """The endpoint wants no more events at all."""


RETRIED_STATUSES = frozenset({408, 425, 429})
"""Besides every 5xx."""


def verdict(status: int) -> Verdict:
    """2xx alone is success; 408, 425, 429 and 5xx may pass; 410 says "never again"; the rest is final."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status >= 500 or status in RETRIED_STATUSES:
        return Verdict.RETRY
    if status == 410:
        return Verdict.DISABLE
    return Verdict.DEAD


def backoff(failures: int, retry: Retry, random: Callable[[], float]) -> float:
    """Seconds to wait after the ``failures``-th failure: exponential, with full jitter.

    ``random`` gives a number from 0 to 1. Full jitter spreads the tries of many events best, see
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling: float = retry.first * 2.0 ** min(failures - 1, 63)
    return random() * min(ceiling, retry.max)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, in either of its forms; None where it is absent or not
    understood. ``now`` is seconds since the epoch. [RFC 9110, 10.2.3]"""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


class Breaker:
    """After ``limit`` failures in a row it opens: one probe at a time, until one succeeds."""

    __slots__ = ("_probing", "failures", "limit", "next_probe", "probes")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.failures = 0
        self.probes = 0
        """Failed since it opened."""
        self.next_probe: float | None = None
        """When the next probe may start; None while the breaker is closed."""
        self._probing = False

    @property
    def open(self) -> bool:
        return self.next_probe is not None

    def allows(self, now: float) -> bool:
        """Whether a try may start now."""
        return self.next_probe is None or (not self._probing and now >= self.next_probe)

    def start(self) -> bool:
        """A try starts; True where it is a probe."""
        self._probing = self.open
        return self._probing

    def succeeded(self) -> None:
        """The endpoint answered as one that is alive."""
        self.failures = self.probes = 0
        self.next_probe = None
        self._probing = False

    def failed(self, probe: bool, next_probe: float) -> bool:
        """A try failed; True where this opened the breaker. A try that had started before it opened does
        not put the next probe off."""
        self.failures += 1
        if probe:
            self._probing = False
            self.probes += 1
            self.next_probe = next_probe
        elif self.failures >= self.limit and not self.open:
            self.next_probe = next_probe
            return True
        return False

    def abandoned(self, probe: bool) -> None:
        """A try ended without an outcome."""
        if probe:
            self._probing = False
