"""The outcome of an HTTP answer for the events of its request. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from pybroker.broker.outgoing.http import Answer

from ..backend import ANSWER_BYTES, Outcome, Verdict

RETRIED_STATUSES = frozenset({408, 425, 429})
"""The statuses, besides every 5xx, after which a request is tried again."""


def outcome_of(answer: Answer, now: float) -> Outcome:
    """``now`` is seconds since the epoch."""
    status = answer.status
    decision = verdict(status)
    after = retry_after(answer.headers.get("retry-after"), now) if decision is Verdict.RETRY else None
    return Outcome(decision, f"answered {status}", after or 0.0, status, answer.body[:ANSWER_BYTES])


def verdict(status: int) -> Verdict:
    """2xx is success; 408, 425, 429 and 5xx are temporary; 410 disables the endpoint; any other is final."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status >= 500 or status in RETRIED_STATUSES:
        return Verdict.RETRY
    if status == 410:
        return Verdict.DISABLE
    return Verdict.DEAD


def retry_after(value: str | None, now: float) -> float | None:
    """The seconds of a ``Retry-After`` header, in either of its forms; None if it is absent or invalid.
    ``now`` is seconds since the epoch. [RFC 9110, 10.2.3]"""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None
