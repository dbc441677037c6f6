"""The numbers of a running broker, computed from what the engine keeps anyway."""

from __future__ import annotations

import gc
import resource
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from .. import __version__
from ..clock import Timer
from ..engine.engine import Engine
from ..session.session import Session

LAG_INTERVAL = 0.5
MOST_COUNTED = 20_000
"""The most sessions whose queues are looked at in one call; more would block the event loop."""


class Lag:
    """Measures how late the event loop calls its timers, while somebody asks."""

    def __init__(self, engine: Engine) -> None:
        self._clock = engine.clock
        self._timer: Timer | None = None
        self._due = 0.0
        self.worst = 0.0
        """Seconds; the latest call since the last ``take``."""

    def start(self) -> None:
        if self._timer is None:
            self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self) -> float:
        worst, self.worst = self.worst, 0.0
        return worst

    def _arm(self) -> None:
        self._due = self._clock.monotonic() + LAG_INTERVAL
        self._timer = self._clock.call_at(self._due, self._called)

    def _called(self) -> None:
        self.worst = max(self.worst, self._clock.monotonic() - self._due)
        self._arm()


SAME_EVERYWHERE = ("version", "at", "retained")
"""The values that are not added up over the processes of a broker."""


def overview(engine: Engine) -> dict[str, Any]:
    """Counts and counters of the whole broker, of all its processes. The counters (``messages_received`` and
    below) only grow."""
    total = own_numbers(engine)
    for other in engine.neighbours.numbers() if engine.neighbours is not None else ():
        for name, value in total.items():
            if isinstance(value, dict):
                total[name] = dict(Counter(value) + Counter(other[name]))
            elif name not in SAME_EVERYWHERE:
                total[name] = value + other[name]
    return total


def own_numbers(engine: Engine) -> dict[str, Any]:
    """The same for this process only."""
    counters = engine.counters
    counted = list(islice(engine.sessions, MOST_COUNTED))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "version": __version__,
        "at": engine.clock.time(),
        "clients": engine.connected,
        "clients_maximum": counters.clients_maximum,
        "sessions": len(engine.sessions),
        "subscriptions": len(engine.router),
        "retained": len(engine.retained),
        "inflight": sum(len(session.inflight) for session in counted),
        "queued": sum(len(session.queue) for session in counted if session.queue is not None),
        "memory_bytes": memory_bytes(),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "gc_collections": sum(one["collections"] for one in gc.get_stats()),
        "messages_received": counters.publish_received,
        "messages_sent": counters.publish_sent,
        "packets_received": counters.packets_received,
        "packets_sent": counters.packets_sent,
        "bytes_received": counters.bytes_received,
        "bytes_sent": counters.bytes_sent,
        "connects": counters.connects,
        "dropped": dict(counters.dropped),
        "refused": dict(counters.refused),
        "limited": dict(counters.limited),
    }


def started(engine: Engine) -> float:
    """When this process began, in seconds since the epoch."""
    return engine.clock.time() - (engine.clock.monotonic() - engine.started)


def client_of(session: Session) -> dict[str, Any]:
    """One client, connected or not. Times are seconds since the epoch; None if it is not connected."""
    client, channel = session.client, session.channel
    connected_at = heard_at = None
    if channel is not None:
        clock = channel.engine.clock
        now, monotonic = clock.time(), clock.monotonic()
        connected_at = round(now - (monotonic - channel.opened_at), 3)
        heard_at = round(now - (monotonic - channel.heard_at), 3)
    return {
        "client": client.client_id,
        "username": client.username,
        "peer": client.peer if session.connected else "",
        "listener": client.listener,
        "version": client.protocol_version,
        "connected": session.connected,
        "connected_at": connected_at,
        "heard_at": heard_at,
        "keepalive": client.keepalive,
        "subscriptions": len(session.subscriptions),
        "inflight": len(session.inflight),
        "queued": len(session.queue) if session.queue is not None else 0,
        "queued_bytes": session.queue.bytes if session.queue is not None else 0,
    }


def busiest_clients(engine: Engine, count: int) -> list[dict[str, Any]]:
    """The clients with the most messages waiting and in flight; then the connected ones."""

    def burden(session: Session) -> tuple[int, bool]:
        waiting = len(session.inflight) + (len(session.queue) if session.queue is not None else 0)
        return waiting, session.connected

    found: Iterator[Session] = islice(engine.sessions, MOST_COUNTED)
    return [client_of(session) for session in sorted(found, key=burden, reverse=True)[:count]]


def memory_bytes() -> int:
    """The memory of the process now; on systems that do not tell it, the most it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
