"""`/metrics`, `/prometheus` and `/stats`: the numbers of the broker as NanoMQ and EMQX name them."""

from __future__ import annotations

from itertools import islice
from typing import Any

from aiohttp import web

from ...bridge.bridge import BridgeStatus
from ...live.numbers import overview
from ..answers import as_json, data
from ..calls import Call, Route
from ..prometheus import CONTENT_TYPE, nanomq
from ..served import NODE

MOST_FILTERS = 100_000
"""The most subscriptions that the count of topics looks at; more would block the event loop."""


async def metrics(call: Call) -> web.Response:
    """NanoMQ's keys, without a ``code``."""
    now = overview(call.served.engine)
    return as_json(
        {
            "metrics": [_of_bridge(one.status) for one in call.served.bridges().all.values()],
            "cpuinfo": f"{call.served.peaks.cpu_percent(now):.2f}%",
            "memory": str(now["memory_bytes"]),
            "connections": now["sessions"],
        }
    )


def _of_bridge(status: BridgeStatus) -> dict[str, Any]:
    counters = status.counters
    down = ("not_subscribed", "echo")
    return {
        "bridge name": status.name,
        "sent messages": counters.sent,
        "received messages": counters.received,
        "sent bytes": counters.bytes_sent,
        "received bytes": counters.bytes_received,
        "MQTT reconnect times": counters.connects,
        "uplink msg dropped": sum(n for reason, n in counters.dropped.items() if reason not in down),
        "downlink msg dropped": sum(counters.dropped[reason] for reason in down),
    }


async def prometheus(call: Call) -> web.Response:
    engine = call.served.engine
    filters = (one for session in engine.sessions for one in session.subscriptions)
    topics = len(set(islice(filters, MOST_FILTERS)))
    text = nanomq(overview(engine), topics, call.served.peaks)
    return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})


async def stats(call: Call) -> web.Response:
    """EMQX's keys. The ``.max`` are the most at one time: of connections since the start, of the others at
    the times somebody asked."""
    now = overview(call.served.engine)
    peaks = call.served.peaks
    found: dict[str, int] = {
        "connections.count": now["clients"],
        "connections.max": now["clients_maximum"],
    }
    for name in ("sessions", "subscriptions", "retained"):
        found[f"{name}.count"] = now[name]
        found[f"{name}.max"] = int(peaks.of(name, now[name]))
    return data([{"node": NODE, "stats": found}])


ROUTES = (
    Route("GET", "/metrics", metrics, "metrics", "Memory, CPU and the counters of bridges"),
    Route("GET", "/prometheus", prometheus, "prometheus", "NanoMQ's numbers in Prometheus' format"),
    Route("GET", "/stats", stats, "list_stats", "Counts and their maxima"),
)
