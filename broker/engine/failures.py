"""Failed logins: who guesses passwords waits longer for each answer."""

from __future__ import annotations

from collections import OrderedDict

FREE = 3
"""Failures of one address that are answered at once."""
FIRST = 0.5
"""Seconds the answer to the next one is held back; each further failure doubles it."""
LONGEST = 8.0
FORGET = 300.0
"""Seconds without a failure after which an address starts anew."""
MAX_ADDRESSES = 10_000
"""Addresses that are remembered; the one whose last failure is longest ago gives way."""


class LoginFailures:
    """Counts them by address. A login that succeeds is never held back: others may share the address."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """How many, and when the last one was."""

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._failures)

    def note(self, host: str, now: float) -> float:
        """A login from ``host`` has failed: how many seconds to hold back the answer."""
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
