"""One sample of each event, for `pybroker webhook test`."""

from __future__ import annotations

from pybroker.broker import events

from ..settings import Rule
from .encode import EVENTS

CLIENT = events.Client("pybroker-test", "test", 5, 60, peer="192.0.2.1:50000", listener="tcp")
RECEIVER = events.Client("pybroker-receiver", "test", 5, 60, peer="192.0.2.2:50000", listener="tcp")


def sample(rule: Rule, at: float) -> events.Event:
    """A sample event for ``rule``, with a topic that the rule's filter matches."""
    topic = (rule.topic or "pybroker/test").replace("+", "test").replace("#", "test")
    kind = EVENTS[rule.event]
    values: dict[str, object] = {
        "client": RECEIVER if issubclass(kind, events.MessageEvent) else CLIENT,
        "publisher": CLIENT,
        "topic": topic,
        "payload": b"This is a test.",
        "qos": 1,
        "retain": False,
        "conn_ack": "success",
        "reason": _REASONS.get(kind, "normal"),
        "session_present": False,
        "at": at,
    }
    fields = {name: values[name] for name in kind.__dataclass_fields__ if name in values}
    return kind(**fields)  # type: ignore[arg-type]


_REASONS: dict[type[events.Event], str] = {
    events.SessionTerminated: "expired",
    events.MessageDropped: "no_subscribers",
}
