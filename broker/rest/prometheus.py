"""`/metrics` in Prometheus' text format, and NanoMQ's metrics with NanoMQ's names. All values are read at the
request."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from pybroker.webhook.metrics import BUCKETS, EndpointStats

from .. import __version__
from ..bridge.bridge import CONNECTED, BridgeStatus
from ..live.numbers import overview
from .families import Family, sample
from .mongooseim import as_mongooseim
from .peaks import Peaks
from .served import Served

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Response times of the endpoints."""

    name: str
    help: str
    endpoints: list[EndpointStats]

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} histogram"
        for one in self.endpoints:
            labels = _of(one)
            bounds = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")
            for bound, count in zip(bounds, accumulate(one.response_buckets), strict=True):
                yield sample(f"{self.name}_bucket", {**labels, "le": bound}, count)
            yield sample(f"{self.name}_sum", labels, one.response_seconds)
            yield sample(f"{self.name}_count", labels, one.response_count)


def exposition(served: Served) -> str:
    """All metrics."""
    endpoints = served.webhook_stats()
    bridges = [bridge.status for bridge in served.bridges().all.values()]
    families = (
        *_broker(served),
        *_process(served),
        *_nodes(served.nodes()),
        *_bridges(bridges),
        *_endpoints(endpoints),
        *as_mongooseim(endpoints),
    )
    return "\n".join(line for family in families for line in family.lines()) + "\n"


def _one(name: str, type_: str, help_: str, value: float) -> Family:
    return Family(f"pybroker_{name}", type_, help_, [({}, value)])


def _by(label: str, counts: Mapping[str, int]) -> list[tuple[dict[str, str], float]]:
    return [({label: key}, count) for key, count in sorted(counts.items())]


def _broker(served: Served) -> Iterator[Family]:
    now = overview(served.engine)
    yield Family("pybroker_info", "gauge", "The version, always 1.", [({"version": __version__}, 1)])
    yield _one("connections", "gauge", "Clients that are connected.", now["clients"])
    yield _one("connections_maximum", "gauge", "The most at one time.", now["clients_maximum"])
    yield _one("sessions", "gauge", "Sessions, also of clients that are away.", now["sessions"])
    yield _one("subscriptions", "gauge", "Subscriptions of all sessions.", now["subscriptions"])
    yield _one("retained_messages", "gauge", "Topics with a retained message.", now["retained"])
    yield _one("inflight_messages", "gauge", "Sent, and not acknowledged yet.", now["inflight"])
    yield _one("queued_messages", "gauge", "Waiting in the queues of sessions.", now["queued"])
    for what in ("messages", "packets", "bytes"):
        for way in ("received", "sent"):
            value = now[f"{what}_{way}"]
            noun = "PUBLISH packets" if what == "messages" else f"MQTT {what}"
            yield _one(f"{what}_{way}_total", "counter", f"{noun} {way}.", value)
    yield _one("connects_total", "counter", "Clients admitted.", now["connects"])
    dropped, refused, limited = now["dropped"], now["refused"], now["limited"]
    name, text = "pybroker_messages_dropped_total", "Messages that a receiver did not get, by reason."
    yield Family(name, "counter", text, _by("reason", dropped))
    name, text = "pybroker_connections_refused_total", "Connections refused, by reason."
    yield Family(name, "counter", text, _by("reason", refused))
    name, text = "pybroker_limited_total", "How often a key of limits took effect."
    yield Family(name, "counter", text, _by("limit", limited))


def _process(served: Served) -> Iterator[Family]:
    now = overview(served.engine)
    started = now["at"] - (served.engine.clock.monotonic() - served.engine.started)
    lag = "How late the event loop called a timer, at worst since the last scrape."
    yield _one("event_loop_lag_seconds", "gauge", lag, served.lag.take())
    memory, cpu = "Memory of the process.", "Processor time of the process."
    yield Family("process_resident_memory_bytes", "gauge", memory, [({}, now["memory_bytes"])])
    yield Family("process_cpu_seconds_total", "counter", cpu, [({}, now["cpu_seconds"])])
    yield Family("process_start_time_seconds", "gauge", "Start, since the epoch.", [({}, started)])
    runs = [({"generation": str(n)}, one["collections"]) for n, one in enumerate(gc.get_stats())]
    yield Family("python_gc_collections_total", "counter", "Runs of the garbage collector.", runs)


_OF_NODES = {
    "connections": ("gauge", "clients", "Clients that are connected to the node."),
    "sessions": ("gauge", "sessions", "Its sessions."),
    "subscriptions": ("gauge", "subscriptions", "Their subscriptions."),
    "retained_messages": ("gauge", "retained", "Topics with a retained message there."),
    "inflight_messages": ("gauge", "inflight", "Sent by it, and not acknowledged yet."),
    "queued_messages": ("gauge", "queued", "Waiting in the queues of its sessions."),
    "messages_received_total": ("counter", "messages_received", "PUBLISH packets received by it."),
    "messages_sent_total": ("counter", "messages_sent", "PUBLISH packets sent by it."),
    "bytes_received_total": ("counter", "bytes_received", "Bytes received by it."),
    "bytes_sent_total": ("counter", "bytes_sent", "Bytes sent by it."),
    "memory_bytes": ("gauge", "memory_bytes", "Its memory."),
    "cpu_seconds_total": ("counter", "cpu_seconds", "Its processor time."),
    "waiting_bytes": ("gauge", "waiting_bytes", "What the other nodes hold for it."),
    "start_time_seconds": ("gauge", "up_since", "Its start, since the epoch."),
}


def _nodes(found: list[dict[str, Any]]) -> Iterator[Family]:
    """Each process of a broker of several, as of its last word."""
    if len(found) == 1:
        return
    up = [({"node": one["name"]}, float(one["answers"])) for one in found]
    yield Family("pybroker_node_up", "gauge", "1 where the node answers, else 0.", up)
    for name, (type_, key, text) in _OF_NODES.items():
        values = [({"node": one["name"]}, one[key]) for one in found if one.get(key) is not None]
        yield Family(f"pybroker_node_{name}", type_, text, values)


def _bridges(found: list[BridgeStatus]) -> Iterator[Family]:
    if not found:
        return

    def each(name: str, type_: str, text: str, value: Callable[[BridgeStatus], float]) -> Family:
        return Family(
            f"pybroker_bridge_{name}", type_, text, [({"bridge": one.name}, value(one)) for one in found]
        )

    yield each(
        "connected", "gauge", "1 where the link is up, else 0.", lambda one: float(one.state == CONNECTED)
    )
    yield each("queued", "gauge", "Messages the remote broker has not acknowledged.", lambda one: one.queued)
    yield each("connects_total", "counter", "Times the link came up.", lambda one: one.counters.connects)
    text = "Messages sent to the remote broker."
    yield each("messages_sent_total", "counter", text, lambda one: one.counters.sent)
    text = "Messages received from it."
    yield each("messages_received_total", "counter", text, lambda one: one.counters.received)
    yield each("bytes_sent_total", "counter", "Bytes sent to it.", lambda one: one.counters.bytes_sent)
    text = "Bytes received from it."
    yield each("bytes_received_total", "counter", text, lambda one: one.counters.bytes_received)
    dropped = [
        ({"bridge": one.name, "reason": reason}, count)
        for one in found
        for reason, count in one.counters.dropped.items()
    ]
    yield Family("pybroker_bridge_dropped_total", "counter", "Messages not passed on, by reason.", dropped)


_GAUGES = {
    "in_flight": "Events that are being sent.",
    "queued": "Events that wait.",
    "queued_bytes": "Memory of the events that wait.",
    "spooled_bytes": "What waits on disk.",
    "dead_letters": "Dead letters that are kept.",
}
_COUNTERS = {
    "matched": "Events that the endpoint wants.",
    "succeeded": "Events delivered.",
    "dead": "Events that became dead letters.",
    "tries": "Requests.",
    "retries": "Requests that were not the first of their event.",
    "failed": "Failed tries, each counted once for each of its events.",
    "timeouts": "Those of them without an answer in time.",
    "delivered_bytes": "Bodies of the events delivered.",
    "callable_errors": "Exceptions in filters, transforms and bodies.",
    "spool_errors": "Failed writes to the spool.",
}


def _of(one: EndpointStats) -> dict[str, str]:
    return {"section": one.section, "endpoint": one.name}


def _endpoints(found: Iterable[EndpointStats]) -> Iterator[Family | Histogram]:
    endpoints = list(found)
    if not endpoints:
        return
    prefix = "pybroker_webhook_"
    ready = [(_of(one), float(one.state == "ready")) for one in endpoints]
    yield Family(f"{prefix}ready", "gauge", "1 where the endpoint answers, 0 where it fails.", ready)
    for name, text in _GAUGES.items():
        yield Family(prefix + name, "gauge", text, [(_of(one), getattr(one, name)) for one in endpoints])
    ages = [(_of(one), one.oldest_age) for one in endpoints]
    yield Family(f"{prefix}oldest_age_seconds", "gauge", "Age of the oldest event that waits.", ages)
    for name, text in _COUNTERS.items():
        counts = [(_of(one), getattr(one, name)) for one in endpoints]
        yield Family(f"{prefix}{name}_total", "counter", text, counts)
    dropped = [
        ({**_of(one), "reason": reason}, getattr(one, f"dropped_{reason}"))
        for one in endpoints
        for reason in ("full", "expired", "filtered")
    ]
    yield Family(f"{prefix}dropped_total", "counter", "Events dropped, by reason.", dropped)
    yield Histogram(f"{prefix}response_seconds", "Time until the answer.", endpoints)


def nanomq(now: Mapping[str, Any], topics: int, peaks: Peaks) -> str:
    """NanoMQ's names and order. The ``_max`` are the largest at the times somebody asked."""
    lines: list[str] = []

    def add(name: str, type_: str, text: str, unit: str = "") -> None:
        name = f"nanomq_{name}"
        lines.extend((f"# TYPE {name} {type_}", f"# HELP {name}{unit}", f"{name} {text}"))

    counts = {
        "connections": now["clients"],
        "sessions": now["sessions"],
        "topics": topics,
        "subscribers": now["subscriptions"],
    }
    for name, value in counts.items():
        add(f"{name}_count", "gauge", str(value))
        add(f"{name}_max", "gauge", f"{peaks.of(name, value):.0f}")
    add("messages_received", "counter", str(now["messages_received"]))
    add("messages_sent", "counter", str(now["messages_sent"]))
    add("messages_dropped", "counter", str(sum(now["dropped"].values())))
    memory, cpu = now["memory_bytes"], peaks.cpu_percent(now)
    add("memory_usage", "gauge", str(memory), " (b)")
    add("memory_usage_max", "gauge", f"{peaks.of('memory', memory):.0f}", " (b)")
    add("cpu_usage", "gauge", f"{cpu:.2f}", " (%)")
    add("cpu_usage_max", "gauge", f"{peaks.of('cpu', cpu):.2f}", " (%)")
    return "\n".join(lines) + "\n"
