"""The times of retries, and the circuit breaker. Pure: time and randomness are passed in."""

from __future__ import annotations

from collections.abc import Callable

from ..settings import Retry


def backoff(failures: int, retry: Retry, random: Callable[[], float]) -> float:
    """Seconds to wait after the ``failures``-th failure: exponential, with full jitter.

    ``random`` gives a number from 0 to 1. Full jitter spreads the tries of many events best, see
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling: float = retry.first * 2.0 ** min(failures - 1, 63)
    return random() * min(ceiling, retry.max)


class Breaker:
    """After ``limit`` failures in a row it opens: one probe at a time, until one succeeds."""

    __slots__ = ("_probing", "failures", "limit", "next_probe", "probes")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.failures = 0
        self.probes = 0
        """The number of failures since it opened."""
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
        """The endpoint has answered."""
        self.failures = self.probes = 0
        self.next_probe = None
        self._probing = False

    def failed(self, probe: bool, next_probe: float) -> bool:
        """A try failed; True if this opened the breaker. A failed try that had started before the breaker
        opened does not delay the next probe."""
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
