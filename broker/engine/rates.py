"""Rate limits, as token buckets."""

from __future__ import annotations

from ..config.settings import Limits


class Bucket:
    """A token bucket: it gains ``rate`` tokens per second, and holds at most those of one second (and at
    least one).

    More tokens may be taken than there are; the client has to wait until this debt is paid.
    """

    __slots__ = ("_at", "_rate", "_tokens")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = max(rate, 1.0)
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Take ``amount`` tokens; returns the seconds until the resulting debt is paid, 0 if there is
        none."""
        self._flow(now)
        self._tokens -= amount
        return max(0.0, -self._tokens / self._rate)

    def has_one(self, now: float) -> bool:
        """Take one token if there is one."""
        self._flow(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _flow(self, now: float) -> None:
        self._tokens = min(max(self._rate, 1.0), self._tokens + (now - self._at) * self._rate)
        self._at = now


class Meter:
    """The rates of one client, limited by `limits.message_rate` and `limits.byte_rate`."""

    __slots__ = ("_bytes", "_messages")

    def __init__(self, limits: Limits, now: float) -> None:
        self._messages = Bucket(limits.message_rate, now) if limits.message_rate else None
        self._bytes = Bucket(limits.byte_rate, now) if limits.byte_rate else None

    def pause(self, messages: int, size: int, now: float) -> tuple[float, str]:
        """The seconds for which nothing more may be read, and the limit that caused the pause."""
        pauses = (
            (self._messages.take(messages, now) if self._messages else 0.0, "message_rate"),
            (self._bytes.take(size, now) if self._bytes else 0.0, "byte_rate"),
        )
        return max(pauses)


def meter(limits: Limits, now: float) -> Meter | None:
    """The meter of a new connection; None without limits."""
    return Meter(limits, now) if limits.message_rate or limits.byte_rate else None
