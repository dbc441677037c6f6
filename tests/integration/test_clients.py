"""Real clients against the broker."""

from __future__ import annotations

import shutil
import subprocess

import aiomqtt
import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from pybroker.testing import TestBroker
from tests.waiting import DEADLINE

from .clients import VERSIONS, Client, connected
from .support import wait_for

V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5


@pytest.fixture
def port(mqtt_broker: TestBroker) -> int:
    return mqtt_broker.port


needs_mosquitto_clients = pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="mosquitto_pub is not installed (Debian: mosquitto-clients)"
)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_reaches_a_subscriber(port: int, version: MQTTProtocolVersion, qos: int) -> None:
    with (
        connected(port, "sub", version) as sub,
        connected(port, "pub", version) as pub,
    ):
        assert sub.subscribe_and_wait("room/+/temperature", qos) == [qos]
        pub.publish_and_wait("room/1/temperature", b"21.5", qos)
        (message,) = sub.wait()
        assert (message.topic, message.payload, message.qos) == ("room/1/temperature", b"21.5", qos)
        assert not message.retain


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_understand_each_other(port: int, version: MQTTProtocolVersion) -> None:
    with (
        connected(port, "five", V5) as five,
        connected(port, "other", version) as other,
    ):
        five.subscribe_and_wait("t/five", 1)
        other.subscribe_and_wait("t/other", 1)
        five.publish_and_wait("t/other", b"from five", 1)
        other.publish_and_wait("t/five", b"from other", 1)
        assert other.wait()[0].payload == b"from five"
        assert five.wait()[0].payload == b"from other"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_retained_message_waits_for_its_reader(port: int, version: MQTTProtocolVersion) -> None:
    with (
        connected(port, "pub", version) as pub,
        connected(port, "sub", version) as sub,
    ):
        pub.publish_and_wait("state", b"on", 1, retain=True)
        sub.subscribe_and_wait("state", 1)
        (message,) = sub.wait()
        assert message.retain
        pub.publish_and_wait("state", b"", 1, retain=True)
        with connected(port, "late", version) as late:
            late.subscribe_and_wait("state")
            pub.publish_and_wait("state", b"live", 1)
            assert [m.payload for m in late.wait()] == [b"live"]


def test_a_session_keeps_messages_while_its_client_is_away(port: int) -> None:
    with connected(port, "away", clean_session=False) as away:
        assert not away.session_present
        away.subscribe_and_wait("news", 1)
    with connected(port, "pub") as pub:
        for number in range(5):
            pub.publish_and_wait("news", str(number), 1)
    with connected(port, "away", clean_session=False) as away:
        assert away.session_present
        assert [m.payload for m in away.wait(5)] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_will_is_published_when_the_connection_breaks(port: int) -> None:
    with connected(port, "watch") as watch:
        watch.subscribe_and_wait("gone/+")
        dying = Client("dying", V311)
        dying.will_set("gone/dying", b"died")
        dying.connect("127.0.0.1", port)
        dying.loop_start()
        assert dying.answered.wait(DEADLINE)
        dying.loop_stop()
        connection = dying.socket()
        assert connection is not None
        connection.close()
        assert watch.wait()[0].payload == b"died"


def test_a_second_connection_takes_the_session_over(port: int) -> None:
    same = {"client_id": "same", "version": V5, "reconnect_on_failure": False}
    with connected(port, **same) as first, connected(port, **same):
        assert first.left.wait(DEADLINE)
        assert first.left_reason.value == 0x8E


def test_properties_travel_with_a_5_0_message(port: int) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"
    properties.ResponseTopic = "answers"
    properties.CorrelationData = b"42"
    properties.UserProperty = [("a", "1"), ("a", "2")]
    properties.MessageExpiryInterval = 60
    with connected(port, "sub", V5) as sub, connected(port, "pub", V5) as pub:
        sub.subscribe_and_wait("ask", 1)
        pub.publish_and_wait("ask", b"{}", 1, properties=properties)
        got = sub.wait()[0].properties
        assert (got.ContentType, got.ResponseTopic, got.CorrelationData) == (
            "application/json",
            "answers",
            b"42",
        )
        assert got.UserProperty == [("a", "1"), ("a", "2")]
        assert got.MessageExpiryInterval <= 60


def test_a_shared_subscription_takes_turns(port: int) -> None:
    with connected(port, "a", V5) as a, connected(port, "b", V5) as b:
        a.subscribe_and_wait("$share/g/jobs", 1)
        b.subscribe_and_wait("$share/g/jobs", 1)
        with connected(port, "pub", V5) as pub:
            for number in range(10):
                pub.publish_and_wait("jobs", str(number), 1)
        wait_for(lambda: len(a.received) + len(b.received) >= 10, "ten jobs")
        assert (len(a.received), len(b.received)) == (5, 5)


def test_no_local_and_retain_as_published(port: int) -> None:
    with connected(port, "me", V5) as me, connected(port, "you", V5) as you:
        me.subscribe_and_wait("t", options=SubscribeOptions(qos=1, noLocal=True))
        you.subscribe_and_wait("t", options=SubscribeOptions(qos=1, retainAsPublished=True))
        me.publish_and_wait("t", b"mine", 1, retain=True)
        assert you.wait()[0].retain
        you.publish_and_wait("t", b"yours", 1)
        assert [m.payload for m in me.wait()] == [b"yours"]


async def test_aiomqtt(port: int) -> None:
    for version in (aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5):
        async with aiomqtt.Client("127.0.0.1", port, protocol=version) as client:
            await client.subscribe("a/#", qos=2)
            await client.publish("a/b", "hello", qos=2)
            message = await anext(client.messages)
            assert (str(message.topic), message.payload, message.qos) == ("a/b", b"hello", 2)


@needs_mosquitto_clients
@pytest.mark.mqtt_broker(options={"sys.interval": "60s"})
@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
def test_mosquitto_clients(port: int, version: str) -> None:
    common = ["-h", "127.0.0.1", "-p", str(port), "-V", version, "-q", "2"]
    subscriber = subprocess.Popen(
        ["mosquitto_sub", *common, "-t", "$SYS/brokers/version", "-t", "a/#", "-C", "2", "-v"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert subscriber.stdout is not None
    assert subscriber.stdout.readline().startswith("$SYS/brokers/version ")
    subprocess.run(["mosquitto_pub", *common, "-t", "a/b", "-m", "hello"], check=True, timeout=DEADLINE)
    assert subscriber.communicate(timeout=DEADLINE)[0] == "a/b hello\n"
