"""The counters as text, for people and for $SYS topics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .metrics import EndpointStats

SYS_COUNTERS = (
    "state",
    "matched",
    "succeeded",
    "dead",
    "in_flight",
    "queued",
    "dropped_full",
    "dropped_expired",
    "dropped_filtered",
    "tries",
    "retries",
    "callable_errors",
    "spool_errors",
    "spool_damaged",
    "dead_letters",
)


def lines(stats: EndpointStats) -> list[str]:
    """One endpoint's counters, a few lines for a terminal or a log."""
    s = stats
    text = [
        f"{s.section} {s.name} ({s.url}): {s.state}",
        f"  matched {s.matched} = succeeded {s.succeeded} + dead {s.dead} + in flight {s.in_flight}"
        f" + queued {s.queued} + dropped {s.dropped}"
        f" (full {s.dropped_full}, expired {s.dropped_expired}, filtered {s.dropped_filtered})",
        f"  tries {s.tries}, of them retries {s.retries};"
        f" response time p50 {_within(s, 0.5)}, p99 {_within(s, 0.99)}",
        f"  waiting: {_size(s.queued_bytes)} in memory, {_size(s.spooled_bytes)} in the spool,"
        f" the oldest for {s.oldest_age:.1f} s; dead letters kept: {s.dead_letters}",
    ]
    if s.last_failure:
        text.append(f"  the last failure: {s.last_failure}")
    if s.callable_errors or s.spool_errors:
        text.append(f"  errors: {s.callable_errors} in filters and transforms, {s.spool_errors} of the spool")
    if s.spool_damaged:
        text.append(f"  damaged places in the spool's journal: {s.spool_damaged}")
    return text


def render(stats: Iterable[EndpointStats]) -> str:
    """All endpoints, for `pybroker webhook status`."""
    text = [line for one in stats for line in lines(one)]
    return "\n".join(text) if text else "no webhook or event pusher is enabled"


def sys_values(stats: Iterable[EndpointStats]) -> Iterator[tuple[str, str]]:
    """Topics below ``$SYS/brokers/`` and their payloads, such as ``webhook/NAME/matched`` and ``17``."""
    for one in stats:
        prefix = f"{one.section}/{one.name}"
        for counter in SYS_COUNTERS:
            yield f"{prefix}/{counter}", str(getattr(one, counter))
        yield f"{prefix}/oldest_age", f"{one.oldest_age:.3f}"
        yield f"{prefix}/response_time/p50", f"{one.response_quantile(0.5):g}"
        yield f"{prefix}/response_time/p99", f"{one.response_quantile(0.99):g}"


def _within(stats: EndpointStats, q: float) -> str:
    if not stats.response_count:
        return "-"
    bound = stats.response_quantile(q)
    return "above 10 s" if bound == float("inf") else f"<= {bound * 1000:g} ms"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
