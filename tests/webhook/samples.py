"""Events and settings that tests share."""

from __future__ import annotations

from typing import Any

from pybroker.broker import events
from pybroker.webhook import Retry, Rule, WebhookSettings
from pybroker.webhook.body.encode import EVENTS

CLIENT = events.Client("c311", "u1", protocol_version=4, keepalive=60, peer="192.0.2.7:50123", listener="tcp")
OTHER = events.Client("watcher", None, protocol_version=5, keepalive=30, peer="[2001:db8::7]:50123")
AT = 1_795_239_786.385

QUICK = Retry(max_attempts=4, first=0.001, max=0.01, ttl=1e9)


def published(
    payload: bytes = b"Hello World!",
    topic: str = "nmq/pub",
    client: events.Client | None = CLIENT,
    at: float = AT,
    qos: int = 0,
    retain: bool = False,
) -> events.MessagePublished:
    return events.MessagePublished(
        at=at, topic=topic, payload=payload, qos=qos, retain=retain, publisher=client
    )


def message(kind: type[events.MessageEvent], **more: Any) -> events.MessageEvent:
    return kind(
        at=AT, topic="nmq/pub", payload=b"Hello World!", qos=1, retain=False, publisher=CLIENT, **more
    )


SAMPLES: dict[str, events.Event] = {
    "on_client_connect": events.ClientConnect(at=AT, client=CLIENT),
    "on_client_connack": events.ClientConnack(at=AT, client=CLIENT, conn_ack="success"),
    "on_client_connected": events.ClientConnected(at=AT, client=CLIENT),
    "on_client_disconnected": events.ClientDisconnected(at=AT, client=CLIENT, reason="normal"),
    "on_client_subscribe": events.ClientSubscribe(at=AT, client=CLIENT, topic="nmq/#", qos=1),
    "on_client_unsubscribe": events.ClientUnsubscribe(at=AT, client=CLIENT, topic="nmq/#"),
    "on_session_subscribed": events.SessionSubscribed(at=AT, client=CLIENT, topic="nmq/#", qos=1),
    "on_session_unsubscribed": events.SessionUnsubscribed(at=AT, client=CLIENT, topic="nmq/#"),
    "on_session_terminated": events.SessionTerminated(at=AT, client=CLIENT, reason="expired"),
    "on_message_publish": published(),
    "on_message_queued": message(events.MessageQueued, client=OTHER),
    "on_message_delivered": message(events.MessageDelivered, client=OTHER),
    "on_message_acked": message(events.MessageAcked, client=OTHER),
    "on_message_dropped": message(events.MessageDropped, client=OTHER, reason="queue_full"),
}


def endpoint(url: str, *rules: Rule, **more: Any) -> WebhookSettings:
    """An endpoint that wants every event unless ``rules`` are given, and tries again quickly."""
    name = more.pop("name", "webhook")
    more.setdefault("retry", QUICK)
    return WebhookSettings(name, url, rules=rules or tuple(Rule(event) for event in EVENTS), **more)
