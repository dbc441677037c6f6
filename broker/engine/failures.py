"""Failed logins: a client that guesses passwords waits longer for each answer."""

from __future__ import annotations

from collections import OrderedDict

FREE = 3
"""Failures of one address that are answered at once."""
FIRST = 0.5
"""Seconds by which the next answer is delayed; each further failure doubles the delay."""
LONGEST = 8.0
FORGET = 300.0
"""Seconds without a failure after which an address is forgotten."""
MAX_ADDRESSES = 10_000
"""Addresses that are remembered; beyond that the one with the oldest last failure is forgotten."""


class LoginFailures:
    """Counts failed logins by address. A login that succeeds is never delayed: others may share the
    address."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """The number of failures, and the time of the last one."""

    def __len__(self) -> int:
        """The number of addresses that are remembered."""
        return len(self._failures)

    def note(self, host: str, now: float) -> float:
        """Count a failed login from ``host``; returns the seconds by which to delay the answer."""
        if not host:
            return 0.0  # a unix socket: whoever can use it is on this machine
        count, last = self._failures.pop(host, (0, now))
        count = 1 if now - last > FORGET else count + 1
        self._failures[host] = (count, now)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        if count <= FREE:
            return 0.0
        return min(LONGEST, FIRST * 2.0 ** min(count - FREE - 1, 10))
