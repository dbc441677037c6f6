"""How much of something may come in a second."""

from __future__ import annotations

from ..config.settings import Limits


class Bucket:
    """A token bucket: ``rate`` tokens a second flow in, up to those of one second (and at least one).

    More may be taken than there is; the debt is what one has to wait for.
    """

    __slots__ = ("_at", "_rate", "_tokens")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = max(rate, 1.0)
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Take ``amount`` tokens; the seconds until the debt that leaves is paid, 0 where there is none."""
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
    """What one client sends, against `limits.message_rate` and `limits.byte_rate`."""

    __slots__ = ("_bytes", "_messages")

    def __init__(self, limits: Limits, now: float) -> None:
        self._messages = Bucket(limits.message_rate, now) if limits.message_rate else None
        self._bytes = Bucket(limits.byte_rate, now) if limits.byte_rate else None

    def pause(self, messages: int, size: int, now: float) -> tuple[float, str]:
        """How many seconds nothing more may be read after this, and the limit that says so."""
        pauses = (
            (self._messages.take(messages, now) if self._messages else 0.0, "message_rate"),
            (self._bytes.take(size, now) if self._bytes else 0.0, "byte_rate"),
        )
        return max(pauses)


def meter(limits: Limits, now: float) -> Meter | None:
    """One for a new connection; None where nothing is limited."""
    return Meter(limits, now) if limits.message_rate or limits.byte_rate else None
