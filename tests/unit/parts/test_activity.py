"""What the log tells at debug and trace, and that it costs nothing at other levels."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from pybroker.broker.config.settings import LogSettings, Settings
from pybroker.broker.hooks import Hooks
from pybroker.broker.parts.activity import TRACE, Activity
from tests.harness import Broker


def settings(level: str) -> Settings:
    return replace(Settings(), log=LogSettings(level=level))


def started(broker: Broker, level: str) -> Activity:
    activity = Activity(broker.engine, settings(level))
    asyncio.run(activity.start())
    return activity


def reload(activity: Activity, level: str) -> None:
    asyncio.run(activity.prepare(settings(level)))()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(TRACE, "pybroker.clients")
    return caplog


def lines(log: pytest.LogCaptureFixture, level: int) -> list[str]:
    found = [record.getMessage() for record in log.records if record.levelno == level]
    log.clear()
    return found


@pytest.mark.parametrize("level", ["info", "warn", "error", "fatal"])
def test_at_other_levels_nobody_listens(level: str) -> None:
    broker = Broker()
    client = broker.connect("before")
    activity = started(broker, "trace")
    reload(activity, level)
    hooks, after = broker.engine.hooks, broker.connect("after")
    assert not any(getattr(hooks, slot) for slot in Hooks.SLOT_OF.values())
    assert broker.engine.taps == ()
    for one in (client, after):
        assert one.channel.outbox.write == one.link.write


def test_debug_tells_of_subscriptions_and_messages(log: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    started(broker, "debug")
    client = broker.connect("c")
    client.subscribe("a/+", 1)
    client.publish("a/b", b"hello", 1, retain=True)
    client.unsubscribe("a/+")
    client.publish("a/c", b"")
    client.message()
    client.disconnect()
    assert lines(log, logging.DEBUG) == [
        "client c subscribed to a/+, QoS 1",
        "client c published to a/b, QoS 1, retain, 5 bytes",
        "client c unsubscribed from a/+",
        "client c published to a/c, QoS 0, 0 bytes",
        "a message to a/c is dropped for everybody: no_subscribers",
        "the session of client c ended: disconnected",
    ]
    assert lines(log, TRACE) == []


def test_trace_tells_of_every_packet_but_not_of_what_is_secret(log: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    started(broker, "trace")
    client = broker.connect("c", username="ann", password=b"s3cret")
    client.subscribe("a", 1)
    client.publish("a", b"pay1oad", 1, topic_alias=1)
    client.publish("", b"pay1oad", topic_alias=1)
    client.message()
    client.message()
    client.ping()
    client.disconnect()
    text = log.text
    assert "s3cret" not in text
    assert "pay1oad" not in text
    assert lines(log, TRACE) == [
        "from 192.0.2.1:50000 CONNECT c: MQTT 5.0 user ann keepalive 0 s, clean start",
        "to c CONNACK success",
        "from c SUBSCRIBE a qos 1",
        "to c SUBACK qos 1",
        "from c PUBLISH a qos 1 id 2 (7 bytes)",
        "to c PUBLISH a qos 1 id 1 (7 bytes)",
        "to c PUBACK id 2",
        "from c PUBLISH a qos 0 (7 bytes)",
        "to c PUBLISH a qos 0 (7 bytes)",
        "from c PUBACK id 1",
        "from c PINGREQ",
        "to c PINGRESP",
        "from c DISCONNECT",
    ]


def test_a_reload_changes_it_for_those_who_are_connected(log: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    activity = started(broker, "info")
    client = broker.connect("c")
    client.subscribe("a")
    client.publish("a")
    log.clear()
    reload(activity, "trace")
    client.publish("a")
    assert lines(log, TRACE) == ["from c PUBLISH a qos 0 (1 bytes)", "to c PUBLISH a qos 0 (1 bytes)"]
    reload(activity, "debug")
    client.publish("a")
    assert [record.levelno for record in log.records] == [logging.DEBUG]
    log.clear()
    reload(activity, "info")
    client.publish("a")
    assert not log.records
    assert len(client.payloads()) == 4
