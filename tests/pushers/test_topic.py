"""Events as messages on topics of the broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Event

import paho.mqtt.client as mqtt
import pytest

from pybroker.broker import events
from pybroker.broker.commands.main import main
from pybroker.testing import TestBroker
from pybroker.webhook import Sink
from tests.testing.support import paho_client
from tests.waiting import DEADLINE

from .support import published, pushers

ALL = ", ".join(
    f"{{ event = {name} }}"
    for name in ("on_client_connected", "on_message_publish", "on_message_delivered", "on_message_dropped")
)


def conf(directory: Path, text: str) -> Path:
    path = directory / "pybroker.conf"
    path.write_text(text)
    return path


@contextmanager
def watcher(broker: TestBroker, topic: str) -> Iterator[Callable[[str], mqtt.MQTTMessage]]:
    """Gives a function that waits for the next message on a topic."""
    came: Queue[mqtt.MQTTMessage] = Queue()
    subscribed = Event()
    with paho_client(broker, "watcher") as client:
        client.on_message = lambda _client, _data, message: came.put(message)
        client.on_subscribe = lambda *_: subscribed.set()
        client.subscribe(topic, qos=1)
        assert subscribed.wait(DEADLINE)

        def next_on(topic: str) -> mqtt.MQTTMessage:
            while (message := came.get(timeout=DEADLINE)).topic != topic:
                pass
            return message

        yield next_on


def test_a_client_reads_what_happens(tmp_path: Path) -> None:
    path = conf(tmp_path, f"event_pusher.mqtt-topic {{ events = [{ALL}], qos = 1 }}")
    with (
        TestBroker(conf=path, post=True) as broker,
        watcher(broker, "$events/#") as next_on,
        paho_client(broker, "a b") as other,
    ):
        other.publish("sensors/1", b"21.5").wait_for_publish(DEADLINE)
        message = next_on("$events/message_publish/a b")
    said = json.loads(message.payload)
    assert (said["topic"], said["payload"], message.qos) == ("sensors/1", "21.5", 1)


def test_it_does_not_feed_itself(tmp_path: Path) -> None:
    """Each event published is a message that is published, delivered or dropped: that is no event here."""
    text = f'event_pusher.mqtt-topic {{ events = [{ALL}], topic = "events/{{action}}", qos = 1 }}'
    with (
        TestBroker(conf=conf(tmp_path, text), post=True) as broker,
        watcher(broker, "#") as next_on,
        paho_client(broker, "other") as other,
    ):
        for number in range(20):
            other.publish("sensors/1", b"%d" % number, qos=1).wait_for_publish(DEADLINE)
            assert json.loads(next_on("events/message_publish").payload)["payload"] == str(number)
            assert json.loads(next_on("events/message_delivered").payload)["topic"] == "sensors/1"


@pytest.mark.parametrize(
    ("topic", "client", "where"),
    [("t/{clientid}", "a/#+b", "t/a___b"), ("{topic}", "c", "sensors/1"), ("x", "c", "x")],
)
def test_topics(tmp_path: Path, topic: str, client: str, where: str) -> None:
    from pybroker.webhook.backends.topic import TopicBackend

    (one,) = pushers(tmp_path, f'mqtt-topic {{ topic = "{topic}", events = [{ALL}] }}')
    event = published(1, "sensors/1", events.Client(client))
    assert TopicBackend(one, None).address(event) == ((":topic", where),)


async def test_a_topic_that_cannot_be_is_a_dead_letter(tmp_path: Path, start) -> None:
    (one,) = pushers(tmp_path, f'mqtt-topic {{ topic = "{{username}}", events = [{ALL}] }}')
    taken = []
    sink = await start(one, publish=lambda *message: taken.append(message))
    sink.offer(published(1, client=events.Client("c", "ann")))
    sink.offer(published(2, client=events.Client("c")))
    await sink.drained()
    (stats,) = sink.stats()
    assert (stats.succeeded, stats.dead) == (1, 1)
    assert [message[0] for message in taken] == ["ann"]


def test_what_cannot_be(tmp_path: Path, capsys) -> None:
    with pytest.raises(ValueError, match="broker's own"):
        Sink(pushers(tmp_path, f'mqtt-topic {{ topic = "$SYS/x", events = [{ALL}] }}'))
    path = conf(tmp_path, f"event_pusher.mqtt-topic {{ events = [{ALL}] }}")
    assert main(["events", "test", "--conf", str(path)]) == 1
    assert "only a running broker can publish" in capsys.readouterr().out
