"""What the broker says of clients that come and go."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pybroker.broker.config.settings import Limits, SysSettings
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.parts import presence
from pybroker.broker.parts.presence import Presence
from tests.harness import FOR_EVER, Broker, Client

STATUS = "$SYS/brokers/client_status/"
KEPT = {"clean_start": False, "session_expiry_interval": FOR_EVER}


async def telling(broker: Broker | None = None, **settings: Any) -> Broker:
    broker = broker or Broker()
    await Presence(broker.engine, SysSettings(**settings)).start()
    return broker


def watcher(broker: Broker, topic_filter: str = STATUS + "#") -> Client:
    client = broker.connect("watcher")
    client.subscribe(topic_filter)
    client.packets()
    return client


def said(client: Client) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in client.messages()]


def retained(broker: Broker) -> dict[str, str]:
    """Client to what is retained of it."""
    kept = broker.retained().items()
    return {topic.removeprefix(STATUS): json.loads(payload)["status"] for topic, payload in kept}


async def test_the_keys_of_nanomq() -> None:
    broker = await telling()
    watch = watcher(broker)
    other = broker.connect("lamp", 4, username="ann", keepalive=30)
    other.drop()
    old = broker.connect("old", 3)
    old.disconnect()
    now = int(broker.clock.time() * 1000)
    online, offline, *others = watch.messages()
    assert (online.topic, offline.topic) == (STATUS + "lamp", STATUS + "lamp")
    assert json.loads(online.payload) == {
        "status": "online",
        "username": "ann",
        "ts": now,
        "proto_name": "MQTT",
        "keepalive": 30,
        "return_code": "0",
        "proto_ver": 4,
        "client_id": "lamp",
        "clean_start": 1,
        "IPv4": "192.0.2.1",
        "peer": "192.0.2.1:50000",
    }
    assert json.loads(offline.payload) == {
        "status": "offline",
        "username": "ann",
        "ts": now,
        "reason_code": "8b",
        "client_id": "lamp",
        "IPv4": "192.0.2.1",
        "peer": "192.0.2.1:50000",
        "reason": "tcp_closed",
    }
    came, went = (json.loads(message.payload) for message in others)
    assert (came["proto_name"], came["proto_ver"], came["username"]) == ("MQIsdp", 3, "")
    assert (went["reason_code"], went["reason"]) == ("0", "normal")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (ReasonCode.KEEP_ALIVE_TIMEOUT, "8d"),
        (ReasonCode.SERVER_SHUTTING_DOWN, "8b"),
        (ReasonCode.BANNED, "8a"),
    ],
)
async def test_the_reason_in_hexadecimal(reason: ReasonCode, code: str) -> None:
    broker = await telling()
    watch = watcher(broker)
    broker.connect("lamp").channel.close(reason)
    assert said(watch)[1]["reason_code"] == code


async def test_who_asks_later_learns_it() -> None:
    broker = await telling()
    broker.connect("here")
    broker.connect("away", **KEPT).drop()
    broker.connect("gone").drop()
    late = broker.connect("late")
    late.subscribe(STATUS + "+")
    found = {(s["client_id"], s["status"]) for s in said(late)}
    assert found == {("here", "online"), ("away", "offline"), ("late", "online")}


async def test_no_more_is_retained_than_there_are_sessions() -> None:
    broker = await telling()
    for number in range(100):
        broker.connect(f"passing-{number}").drop()
    away = broker.connect("away", clean_start=False, session_expiry_interval=60)
    away.drop()
    assert retained(broker) == {"away": "offline"}
    broker.clock.advance(61)
    assert retained(broker) == {}

    client = broker.connect("c", **KEPT)
    again = broker.connect("c")  # takes over, and starts anew
    assert client.is_closed
    assert retained(broker) == {"c": "online"}
    again.disconnect()
    assert retained(broker) == {}


async def test_a_message_is_made_for_who_asks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = await telling()
    made: list[str] = []
    real = presence._message
    monkeypatch.setattr(presence, "_message", lambda topic, event: made.append(topic) or real(topic, event))
    broker.connect("passing").drop()
    broker.connect("here")
    assert made == []
    late = broker.connect("late")
    late.subscribe(STATUS + "here")
    assert [s["status"] for s in said(late)] == ["online"]
    assert made == [STATUS + "here"]


async def test_a_client_that_comes_and_goes_while_somebody_listens_is_told_of_once() -> None:
    broker = await telling()
    client = broker.connect("lamp", **KEPT)  # before anybody listens
    watch = watcher(broker, STATUS + "lamp")
    client.drop()
    broker.connect("lamp", **KEPT).drop()
    assert [s["status"] for s in said(watch)] == ["offline", "online", "offline"]
    watch.disconnect()
    broker.connect("lamp", **KEPT)  # after it
    assert retained(broker) == {"lamp": "online"}


async def test_live_keeps_nothing() -> None:
    broker = await telling(presence="live")
    watch = watcher(broker)
    broker.connect("away", **KEPT).drop()
    assert [s["status"] for s in said(watch)] == ["online", "offline"]
    assert retained(broker) == {}


@pytest.mark.parametrize("settings", [{"presence": "off"}, {"interval": 0}])
async def test_off(settings: dict[str, Any]) -> None:
    broker = await telling(**settings)
    watch = watcher(broker)
    broker.connect("away", **KEPT).drop()
    watch.nothing()
    assert retained(broker) == {}


async def test_the_older_topics_on_request() -> None:
    broker = await telling(presence_events=True)
    watch = watcher(broker, "$SYS/brokers/+")
    broker.connect("lamp").drop()
    online, offline = watch.messages()
    assert (online.topic, offline.topic) == ("$SYS/brokers/connected", "$SYS/brokers/disconnected")
    assert json.loads(online.payload)["client_id"] == "lamp"
    assert json.loads(offline.payload)["reason_code"] == "8b"
    assert "status" not in json.loads(online.payload)


async def test_who_was_refused_was_never_online() -> None:
    broker = await telling()
    watch = watcher(broker)
    broker.engine.access.authenticators = (lambda credentials: ReasonCode.NOT_AUTHORIZED,)
    broker.dial().connect("eve")
    watch.nothing()


async def test_a_full_store_of_retained_messages_harms_nobody() -> None:
    broker = await telling(Broker(limits=Limits(max_retained=1)))
    broker.connect("one")
    broker.connect("two").ping()
    assert retained(broker) == {"one": "online"}


@pytest.mark.parametrize("client_id", ["x" * 65_535, "+" * 30_000])
async def test_a_client_whose_topic_would_be_too_long_is_not_told_of(
    client_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = await telling()
    watch = watcher(broker)
    broker.connect(client_id).disconnect()
    watch.nothing()
    assert caplog.records == []
    broker.connect("+")
    assert [m.topic for m in watch.messages()] == [STATUS + "%2B"]
