"""Webhooks as a test sees them, without an HTTP server and with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybroker.testing import TestBroker, WaitTimeout
from tests.webhook.receiver import Receiver

from .support import dial

CONF = """
listeners.tcp { bind = "0.0.0.0:1883" }
webhook {
  url = "http://192.0.2.1/hook"
  headers { authorization = "secret" }
  events = [ { event = on_client_connack }, { event = on_message_publish, topic = "a/#" } ]
  retry { first = 0s }
}
webhook.second {
  url = "http://192.0.2.1/second"
  events = [ { event = on_message_publish } ]
}
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "nanomq.conf"
    path.write_text(CONF, encoding="utf-8")
    return path


def test_a_file_with_endpoints_posts_to_memory(make_mqtt_broker, conf: Path) -> None:
    broker: TestBroker = make_mqtt_broker(conf=conf)
    assert (broker.host, broker.port != 1883) == ("127.0.0.1", True)
    with dial(broker):
        broker.publish("a/b", "hi")
        broker.publish("c", "only for the second")
        broker.drain()
    first = [hook for hook in broker.webhooks if hook.endpoint == "webhook"]
    second = [hook for hook in broker.webhooks if hook.endpoint == "second"]
    assert [hook.action for hook in first] == ["client_connack", "message_publish"]
    assert [hook.json()["topic"] for hook in second] == ["a/b", "c"]
    assert first[1].json()["payload"] == "hi"
    assert first[1].headers["authorization"] == "secret"
    assert first[1].url == "http://192.0.2.1/hook"
    assert broker.webhooks.of("on_client_connack") == broker.webhooks.of("client_connack") == first[:1]


@pytest.mark.mqtt_broker(webhooks=["on_message_publish"])
def test_wait_for_a_webhook(mqtt_broker: TestBroker) -> None:
    mqtt_broker.publish("a", "1")
    mqtt_broker.publish("a", "2")
    one, two = mqtt_broker.wait_for_webhook("on_message_publish", count=2)
    assert (one.json()["payload"], two.json()["payload"]) == ("1", "2")
    assert one.id != two.id
    with pytest.raises(WaitTimeout, match="webhooks client_connack delivered: 0 of 1 came"):
        mqtt_broker.wait_for_webhook("client_connack", timeout=0.05)


def test_tries_are_seen_one_by_one(make_mqtt_broker, conf: Path) -> None:
    broker: TestBroker = make_mqtt_broker(conf=conf, options={"webhook.second.enable": False})
    broker.webhooks.answer_with(503, 408)
    broker.publish("a/1", "x")
    hook = broker.wait_for_webhook("message_publish")
    assert [one.status for one in hook.tries] == [503, 408, 200]


@pytest.mark.mqtt_broker(webhooks=["on_message_publish"])
def test_what_waits_is_forgotten_by_reset(mqtt_broker: TestBroker) -> None:
    mqtt_broker.webhooks.answer_with(then="hang")
    mqtt_broker.publish("a", "x")
    mqtt_broker.wait_for_webhook(delivered=False)
    with pytest.raises(WaitTimeout, match="webhook webhook: 0 events waiting, 1 in flight"):
        mqtt_broker.drain(timeout=0.05)
    mqtt_broker.reset()
    mqtt_broker.drain()
    assert len(mqtt_broker.webhooks) == 0
    mqtt_broker.publish("a", "y")
    assert mqtt_broker.wait_for_webhook().json()["payload"] == "y"


@pytest.mark.mqtt_broker(webhooks=["on_message_publish"])
def test_an_answer_that_is_none(mqtt_broker: TestBroker) -> None:
    with pytest.raises(ValueError, match='"slow" is not an answer; write a status, "refused" or "hang"'):
        mqtt_broker.webhooks.answer_with("slow")


async def test_posting_for_real(make_mqtt_broker, conf: Path) -> None:
    receiver = Receiver()
    await receiver.start()
    options = {"webhook.url": receiver.url, "webhook.second.enable": False}
    broker: TestBroker = make_mqtt_broker(conf=conf, options=options, post=True)
    broker.publish("a/b", "hi")
    hook = await broker.aio.wait_for_webhook("message_publish")
    assert receiver.bodies == [hook.body]
    await receiver.stop()


def test_a_spool_of_the_file_is_not_touched(make_mqtt_broker, tmp_path: Path) -> None:
    spool = tmp_path / "spool.db"
    conf = tmp_path / "nanomq.conf"
    conf.write_text(
        f'webhook {{ url = "http://192.0.2.1/", events = [{{ event = on_message_publish }}], '
        f'spool.path = "{spool}" }}',
        encoding="utf-8",
    )
    broker: TestBroker = make_mqtt_broker(conf=conf)
    broker.publish("a", "x")
    broker.wait_for_webhook()
    assert not spool.exists()
