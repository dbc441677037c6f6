"""Counters of one endpoint. They add up at any instant:

matched = succeeded + dead + in_flight + queued + dropped_full + dropped_expired + dropped_filtered
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import add
from typing import Any

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the response time histogram, in seconds; one more bucket counts everything above."""


class Counters:
    """The counters of an endpoint; changed only on the event loop, so that a reader sees them add up."""

    __slots__ = (
        "buckets",
        "callable_errors",
        "dead",
        "delivered_bytes",
        "delivered_seconds",
        "delivered_tries",
        "dropped_expired",
        "dropped_filtered",
        "dropped_full",
        "failed",
        "in_flight",
        "matched",
        "queued",
        "queued_bytes",
        "response_seconds",
        "retries",
        "spool_damaged",
        "spool_errors",
        "succeeded",
        "timeouts",
        "tries",
    )

    def __init__(self) -> None:
        self.matched = self.succeeded = self.dead = self.in_flight = self.queued = 0
        self.dropped_full = self.dropped_expired = self.dropped_filtered = 0
        self.queued_bytes = 0
        self.tries = self.retries = 0
        self.failed = self.timeouts = 0
        self.delivered_tries = self.delivered_bytes = 0
        self.delivered_seconds = 0.0
        self.callable_errors = self.spool_errors = self.spool_damaged = 0
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.response_seconds = 0.0

    def answered(self, seconds: float) -> None:
        """An answer came, of whatever status, after ``seconds``."""
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.response_seconds += seconds

    def delivered(self, count: int, size: int, seconds: float) -> None:
        """The server has taken that many events, with bodies of ``size`` bytes, ``seconds`` after the try
        began."""
        self.succeeded += count
        self.delivered_tries += 1
        self.delivered_seconds += seconds
        self.delivered_bytes += size


@dataclass(frozen=True, slots=True)
class EndpointStats:
    """The counters of one endpoint at one instant. They count events, except for tries and retries, which
    count requests."""

    name: str
    url: str
    state: str
    """``ready``; ``failing`` (one probe at a time); ``disabled`` (it answered 410); ``stopped``."""
    last_failure: str = ""
    """The reason of the last failed try; empty if the endpoint has answered since."""
    section: str = "webhook"
    """``webhook`` or ``event_pusher``."""
    backend: str = "http"
    """The backend, as the configuration names it."""
    matched: int = 0
    succeeded: int = 0
    dead: int = 0
    in_flight: int = 0
    queued: int = 0
    dropped_full: int = 0
    dropped_expired: int = 0
    dropped_filtered: int = 0
    tries: int = 0
    retries: int = 0
    failed: int = 0
    """Events whose try failed; one that fails three times counts three times."""
    timeouts: int = 0
    """The number of these without an answer in time."""
    delivered_tries: int = 0
    """Requests that delivered something."""
    delivered_seconds: float = 0.0
    """The total time of these requests."""
    delivered_bytes: int = 0
    """The bodies of the events that were delivered."""
    connections_opened: int = 0
    """By a backend that keeps one connection; so the next two."""
    connections_closed: int = 0
    connections_failed: int = 0
    callable_errors: int = 0
    """Exceptions in filters, transforms and the making of bodies."""
    spool_errors: int = 0
    """Failed writes to the spool; they are tried again."""
    spool_damaged: int = 0
    """Places in the journal of an earlier run that could not be read."""
    oldest_age: float = 0.0
    """Seconds that the oldest waiting event has waited."""
    queued_bytes: int = 0
    """Memory of the waiting events, as counted for the queue's bound."""
    spooled_bytes: int = 0
    """Bytes of the waiting events in the spool, on disk."""
    dead_letters: int = 0
    """Now in the spool."""
    response_count: int = 0
    response_seconds: float = 0.0
    """All response times together."""
    response_buckets: tuple[int, ...] = field(default=(0,) * (len(BUCKETS) + 1))
    """Answers in each bucket of BUCKETS, not cumulative; the last counts everything above."""

    @property
    def dropped(self) -> int:
        return self.dropped_full + self.dropped_expired + self.dropped_filtered

    @property
    def adds_up(self) -> bool:
        """Always true; tests say so."""
        return self.matched == self.succeeded + self.dead + self.in_flight + self.queued + self.dropped

    def response_quantile(self, q: float) -> float:
        """The response time, in seconds, that the part ``q`` (0 to 1) of the answers did not exceed, to the
        bucket's bound; ``inf`` above the last, 0 where nothing was answered."""
        rank, seen = q * self.response_count, 0
        if not self.response_count:
            return 0.0
        for bound, count in zip((*BUCKETS, float("inf")), self.response_buckets, strict=True):
            seen += count
            if seen >= rank:
                return bound
        return float("inf")

    def to_dict(self) -> dict[str, Any]:
        """A dict that can be written as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EndpointStats:
        """The opposite of ``to_dict``; keys of another version are ignored."""
        known = {k: v for k, v in values.items() if k in cls.__dataclass_fields__}
        if "response_buckets" in known:
            known["response_buckets"] = tuple(known["response_buckets"])
        return cls(**known)


def total(parts: Sequence[EndpointStats]) -> EndpointStats:
    """The stats of one endpoint in several processes. Numbers are added up, and the state is the worst."""
    found = parts[0].to_dict()
    for other in parts[1:]:
        for name, value in other.to_dict().items():
            before = found[name]
            if name == "oldest_age":
                found[name] = max(before, value)
            elif name == "state":
                found[name] = value if before == "ready" else before
            elif isinstance(value, tuple):
                found[name] = tuple(map(add, before, value))
            elif isinstance(value, int | float):
                found[name] = before + value
            else:
                found[name] = before or value
    return EndpointStats.from_dict(found)
