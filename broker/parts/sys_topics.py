"""The part that publishes the `$SYS` topics."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from .. import __version__
from ..engine.engine import Engine
from ..engine.publish import broadcast
from ..part import Part

ROOT = "$SYS/brokers"

MoreValues = Callable[[], Iterable[tuple[str, str]]]
"""The current values of other processes: topics below the root, and their values."""


class SysTopics(Part):
    """Publishes `$SYS/brokers/...` every ``interval`` seconds, retained."""

    def __init__(
        self,
        engine: Engine,
        interval: float,
        more: MoreValues = tuple,
        others: Callable[[], Iterable[Mapping[str, str]]] = tuple,
        publishes: Callable[[], bool] = lambda: True,
    ) -> None:
        """``others`` has the values of the other processes of this broker. ``publishes``: whether this one
        publishes for all of them now."""
        self._engine = engine
        self._more = more
        self._others = others
        self._interval = interval
        self._publishes = publishes

    async def start(self) -> None:
        if not self._interval:
            return
        if self._publishes():
            self._publish("version", __version__)
            self._publish("sysdescr", f"pybroker on Python {platform.python_version()}")
        self._tick()

    def values(self) -> dict[str, str]:
        """The current value of each topic below `$SYS/brokers`."""
        engine = self._engine
        counters = engine.counters
        return {
            "uptime": str(int(engine.clock.monotonic() - engine.started)),
            "datetime": datetime.fromtimestamp(engine.clock.time(), UTC).isoformat(timespec="seconds"),
            "clients/connected": str(engine.connected),
            "clients/disconnected": str(len(engine.sessions) - engine.connected),
            "clients/maximum": str(counters.clients_maximum),
            "clients/total": str(len(engine.sessions)),
            "clients/refused": str(counters.refused.total()),
            "subscriptions/count": str(len(engine.router)),
            "retained/count": str(len(engine.retained)),
            "messages/received": str(counters.publish_received),
            "messages/sent": str(counters.publish_sent),
            "messages/dropped": str(counters.dropped.total()),
            **{f"messages/dropped/{reason}": str(n) for reason, n in counters.dropped.items()},
            **{f"limits/{key}": str(n) for key, n in counters.limited.items()},
            "packets/received": str(counters.packets_received),
            "packets/sent": str(counters.packets_sent),
            "bytes/received": str(counters.bytes_received),
            "bytes/sent": str(counters.bytes_sent),
            **dict(self._more()),
        }

    def _tick(self) -> None:
        if self._publishes():
            for topic, value in summed([self.values(), *self._others()]).items():
                self._publish(topic, value)
            self._engine.flush()
        self._engine.clock.call_at(self._engine.clock.monotonic() + self._interval, self._tick)

    def _publish(self, topic: str, value: str) -> None:
        broadcast(self._engine, f"{ROOT}/{topic}", value.encode(), retain=True)


SAME_EVERYWHERE = {"uptime", "datetime", "retained/count", "cluster/nodes"}


def summed(nodes: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The values of a whole broker from those of its processes. Numbers are added up; other values are those
    of the first process."""
    total = dict(nodes[0])
    for other in nodes[1:]:
        for topic, value in other.items():
            if topic not in total:
                total[topic] = value
            elif topic not in SAME_EVERYWHERE and value.isdecimal() and total[topic].isdecimal():
                total[topic] = str(int(total[topic]) + int(value))
    return total
