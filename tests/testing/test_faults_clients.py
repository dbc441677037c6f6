"""Real clients meet each fault, and recover or fail as their documents say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest

from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import Pubrel, Subscribe, SubscribeFilter
from pybroker.testing import FaultError, TestBroker
from tests.waiting import DEADLINE

from .support import dial, paho_client


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("version", [paho.MQTTv31, paho.MQTTv311, paho.MQTTv5])
def test_refused_paho_is_told_why_and_tries_again(mqtt_broker: TestBroker, version: int) -> None:
    reasons: list[Any] = []
    with mqtt_broker.faults("refuse", code="server_unavailable", client="dev", times=1) as refused:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "dev", protocol=version)
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda _c, _u, _f, reason, _p: reasons.append(str(reason))
        client.connect(mqtt_broker.host, mqtt_broker.port)
        client.loop_start()
        mqtt_broker.wait_for_client("dev")
        client.disconnect()
        client.loop_stop()
    assert reasons == ["Server unavailable", "Success"]
    assert refused.fired == 1


async def test_refused_aiomqtt_raises(mqtt_broker: TestBroker) -> None:
    with mqtt_broker.faults("refuse", code="banned"), pytest.raises(aiomqtt.MqttError, match="Banned"):
        async with aiomqtt.Client(mqtt_broker.host, mqtt_broker.port, protocol=aiomqtt.ProtocolVersion.V5):
            pass


@pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])
@pytest.mark.parametrize(("packet", "qos"), [("PUBACK", 1), ("PUBREC", 2), ("PUBCOMP", 2)])
def test_a_lost_acknowledgement_paho_sends_again_when_it_is_back(
    mqtt_broker: TestBroker, packet: str, qos: int, version: int
) -> None:
    options = {"clean_session": False} if version == paho.MQTTv311 else {}
    with (
        mqtt_broker.faults("drop", packet=packet, times=1) as dropped,
        mqtt_broker.faults("close", packet=packet, times=1),
        paho_client(mqtt_broker, version=version, **options) as client,
    ):
        sent = client.publish("a", "once", qos=qos)
        sent.wait_for_publish(DEADLINE)
        assert sent.is_published()
        assert dropped.fired == 1
        again = mqtt_broker.packets("PUBLISH", direction="in")
        assert len(again) == (1 if packet == "PUBCOMP" else 2)
        # At QoS 2 with a session that was kept the repeat is no second message.
        twice = qos == 1 or (packet == "PUBREC" and version == paho.MQTTv5)
        assert len(mqtt_broker.messages("a")) == (2 if twice else 1)


@pytest.mark.parametrize(("packet", "qos"), [("PUBACK", 1), ("PUBREC", 2), ("PUBREL", 2), ("PUBCOMP", 2)])
def test_repeated_acknowledgements_are_accepted(mqtt_broker: TestBroker, packet: str, qos: int) -> None:
    received: list[bytes] = []
    with (
        mqtt_broker.faults("repeat", packet=packet, count=2),
        paho_client(mqtt_broker, "sub") as subscriber,
        paho_client(mqtt_broker, "pub") as publisher,
    ):
        subscriber.on_message = lambda _c, _u, message: received.append(message.payload)
        subscriber.subscribe("a", qos=qos)
        mqtt_broker.wait_for_packet("SUBACK")
        for number in range(5):
            publisher.publish("a", str(number), qos=qos).wait_for_publish(DEADLINE)
        until(lambda: len(received) >= 5)
        mqtt_broker.drain()
        assert sorted(received) == [b"0", b"1", b"2", b"3", b"4"]
        assert publisher.is_connected()
        assert subscriber.is_connected()


def test_a_delayed_acknowledgement(mqtt_broker: TestBroker) -> None:
    with mqtt_broker.faults("delay", packet="PUBACK", seconds=0.1), paho_client(mqtt_broker) as client:
        started = time.monotonic()
        sent = client.publish("a", qos=1)
        sent.wait_for_publish(DEADLINE)
        assert sent.is_published()
        assert time.monotonic() - started >= 0.099  # timers may be a tick early


def test_a_connection_that_breaks_after_the_third_message_comes_back(mqtt_broker: TestBroker) -> None:
    with (
        mqtt_broker.faults("close", client="dev", packet="PUBLISH", nth=3, times=1),
        paho_client(mqtt_broker) as client,
    ):
        for number in range(3):
            client.publish("a", str(number), qos=1)
        mqtt_broker.wait_for_packet("CONNECT", count=2)
        mqtt_broker.wait_for("a", count=3)


async def test_cut_in_the_middle_aiomqtt_fails(mqtt_broker: TestBroker) -> None:
    async def listen() -> None:
        async with asyncio.timeout(DEADLINE), aiomqtt.Client(mqtt_broker.host, mqtt_broker.port) as client:
            await client.subscribe("a")
            for _ in range(20):
                mqtt_broker.publish("a", "0123456789")
            async for _ in client.messages:
                pass

    with mqtt_broker.faults("cut", direction="out", after_bytes=60), pytest.raises(aiomqtt.MqttError):
        await listen()


def test_a_corrupted_packet_is_refused(mqtt_broker: TestBroker) -> None:
    with mqtt_broker.faults("corrupt", packet="PINGREQ", byte=0), dial(mqtt_broker) as connection:
        connection.sendall(b"\xc0\x00")
        assert connection.recv(100)[0] == 0xE0
        assert connection.recv(100) == b""
    assert mqtt_broker.wait_for_packet("CLOSED").fate == "malformed_packet"


def test_stalled_writing_paho_gives_up_by_its_keepalive(mqtt_broker: TestBroker) -> None:
    ended: list[str] = []
    with paho_client(mqtt_broker, wait=False) as client:
        client.on_disconnect = lambda _c, _u, _f, reason, _p: ended.append(str(reason))
        mqtt_broker.wait_for_client("dev")
        client._keepalive = 1
        with mqtt_broker.faults("stall", client="dev", direction="out"):
            until(lambda: ended)
    assert ended[0] in ("Keep alive timeout", "Unspecified error")


def test_stalled_reading_holds_messages_back_and_loses_none(mqtt_broker: TestBroker) -> None:
    with paho_client(mqtt_broker) as client:
        with mqtt_broker.faults("stall", client="dev"):
            for _ in range(100):
                client.publish("a", b"x" * 1000, qos=1)
            assert mqtt_broker.messages("a") == []
        assert len(mqtt_broker.wait_for("a", count=100)) == 100


def test_a_limit_makes_a_large_message_slow(mqtt_broker: TestBroker) -> None:
    with (
        mqtt_broker.faults("limit", client="dev", direction="in", rate=100_000),
        dial(mqtt_broker) as connection,
    ):
        started = time.monotonic()
        connection.sendall(b"\x30\xa4\x9c\x01\x00\x01a\x00" + b"x" * 20_000)
        mqtt_broker.wait_for("a")
        assert time.monotonic() - started >= 0.15


def test_latency(mqtt_broker: TestBroker) -> None:
    with mqtt_broker.faults("latency", seconds=0.05), paho_client(mqtt_broker) as client:
        started = time.monotonic()
        client.publish("a", qos=1).wait_for_publish(DEADLINE)
        assert time.monotonic() - started >= 0.1


def test_a_lost_session_paho_is_told(mqtt_broker: TestBroker) -> None:
    present: list[bool] = []

    def connect() -> None:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "dev", clean_session=False)
        client.on_connect = lambda _c, _u, flags, _r, _p: present.append(flags.session_present)
        client.connect(mqtt_broker.host, mqtt_broker.port)
        count = len(present)
        client.loop_start()
        until(lambda: len(present) > count)
        client.disconnect()
        client.loop_stop()
        mqtt_broker.wait_for_client("dev", connected=False)

    connect()
    connect()
    with mqtt_broker.faults("lose_session", client="dev"):
        connect()
    assert present == [False, True, False]


@pytest.mark.parametrize("keep_state", [True, False])
def test_a_restart_with_and_without_its_state(mqtt_broker: TestBroker, keep_state: bool) -> None:
    present: list[bool] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "dev", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda _c, _u, flags, _r, _p: present.append(flags.session_present)
    client.will_set("gone", "dev")
    client.connect(mqtt_broker.host, mqtt_broker.port)
    client.loop_start()
    mqtt_broker.wait_for_client("dev")
    client.publish("kept", "x", qos=1, retain=True).wait_for_publish(DEADLINE)
    port = mqtt_broker.port

    with mqtt_broker.outage(keep_state=keep_state), pytest.raises(ConnectionRefusedError), dial(mqtt_broker):
        pass
    assert mqtt_broker.port == port
    mqtt_broker.wait_for_packet("CONNECT", count=2, client="dev")
    until(lambda: len(present) == 2)
    assert present == [False, keep_state]
    assert list(mqtt_broker.retained) == (["kept"] if keep_state else [])
    assert mqtt_broker.messages("gone") == []
    client.disconnect()
    client.loop_stop()


def test_what_is_half_done_at_qos_2_goes_on_after_a_restart(mqtt_broker: TestBroker) -> None:
    publish = encode(make_publish("from", b"x", qos=2, packet_id=7, version=5), 5)
    with dial(mqtt_broker, session_expiry_interval=100) as connection:
        connection.sendall(encode(Subscribe(1, [SubscribeFilter("to", 2)]), 5))
        mqtt_broker.wait_for_packet("SUBACK")
        mqtt_broker.publish("to", "x", qos=2)
        sent = mqtt_broker.wait_for_packet("PUBLISH", direction="out")
        connection.sendall(publish)
        mqtt_broker.wait_for_packet("PUBREC", direction="out")
        mqtt_broker.restart()
    assert mqtt_broker.sessions["dev"].inflight == 1

    with dial(mqtt_broker, clean_start=False, session_expiry_interval=100) as connection:
        again = mqtt_broker.wait_for_packet("PUBLISH", count=2, where=lambda one: one.direction == "out")[1]
        assert (again.packet.dup, again.packet.packet_id) == (True, sent.packet.packet_id)
        connection.sendall(publish)  # as one who has seen no PUBREC
        mqtt_broker.wait_for_packet("PUBREC", direction="out", count=2)
        connection.sendall(encode(Pubrel(7), 5))
        mqtt_broker.wait_for_packet("PUBCOMP", direction="out")
        assert len(mqtt_broker.messages("from")) == 1
        mqtt_broker.restart(keep_state=False)
    assert mqtt_broker.sessions == {}


def test_a_broker_that_stops_during_an_outage_stays_down(make_mqtt_broker) -> None:
    broker: TestBroker = make_mqtt_broker()
    with broker.outage():
        broker.stop()
    with pytest.raises(ConnectionRefusedError), dial(broker):
        pass


def test_a_restart_set_off_by_a_packet(mqtt_broker: TestBroker) -> None:
    with (
        mqtt_broker.faults("restart", topic="reboot", keep_state=False, times=1) as restarted,
        paho_client(mqtt_broker) as client,
    ):
        client.publish("reboot", qos=1)
        mqtt_broker.wait_for_packet("CONNECT", count=2)
        assert restarted.fired == 1
        # paho brings the message again
        mqtt_broker.wait_for("reboot")


def test_a_fault_that_cannot_be(mqtt_broker: TestBroker) -> None:
    with pytest.raises(FaultError, match="drop has no key seconds"), mqtt_broker.faults("drop", seconds=1):
        pass


def test_faults_end_with_their_block_and_with_reset(mqtt_broker: TestBroker) -> None:
    with mqtt_broker.faults("drop", packet="CONNECT"):
        mqtt_broker.reset()
        with dial(mqtt_broker):
            pass
    with dial(mqtt_broker):
        pass
