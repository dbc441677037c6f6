"""What a test sees of its broker, and how it waits."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import threading
import warnings
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.properties import Properties as PahoProperties
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Subprotocol

from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import Connect
from pybroker.broker.testing.certificates import certificate
from pybroker.broker.testing.waiting import Search
from pybroker.broker.testing.webhooks import Try
from pybroker.testing import ConnectionLeftBehind, Message, SeenPacket, TestBroker, WaitTimeout, Webhook
from tests.waiting import DEADLINE

from .support import dial, paho_client


def test_a_message_with_everything_it_says(mqtt_broker: TestBroker) -> None:
    properties = PahoProperties(paho.PacketTypes.PUBLISH)
    properties.UserProperty = ("unit", "C")
    properties.ContentType = "application/json"
    properties.ResponseTopic = "answers"
    with paho_client(mqtt_broker) as client:
        client.publish("room/1", json.dumps({"t": 21.5}), qos=1, retain=True, properties=properties)
        message = mqtt_broker.wait_for("room/+")
    assert (message.topic, message.qos, message.retain, message.client) == ("room/1", 1, True, "dev")
    assert message.json() == {"t": 21.5}
    assert message.text == '{"t": 21.5}'
    assert message.payload == b'{"t": 21.5}'
    assert message.user_properties == (("unit", "C"),)
    assert message.properties.content_type == "application/json"
    assert message.properties.response_topic == "answers"
    assert mqtt_broker.retained["room/1"].json() == {"t": 21.5}
    assert message.at == pytest.approx(mqtt_broker.clock.time(), abs=60)


def test_a_message_is_told_in_few_words(mqtt_broker: TestBroker) -> None:
    mqtt_broker.publish("a", "x", retain=True)
    told = repr(mqtt_broker.retained["a"])
    assert told == "Message(topic='a', payload=b'x', qos=0, retain=True, client=None, at=0.0)"


def test_wait_for_several_and_where(mqtt_broker: TestBroker) -> None:
    with paho_client(mqtt_broker) as client:
        for number in range(5):
            client.publish(f"n/{number}", str(number))
        assert [m.text for m in mqtt_broker.wait_for("n/#", count=5)] == ["0", "1", "2", "3", "4"]
        assert mqtt_broker.wait_for("n/#", where=lambda m: int(m.text) > 2).text == "3"


def test_wait_for_what_comes_later(mqtt_broker: TestBroker) -> None:
    timer = threading.Timer(0.05, lambda: mqtt_broker.publish("later", {"a": 1}))
    timer.start()
    assert mqtt_broker.wait_for("later", own=True).json() == {"a": 1}
    timer.join()


def test_a_wait_can_be_interrupted(mqtt_broker: TestBroker) -> None:
    timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        mqtt_broker.wait_for("never", timeout=DEADLINE)
    timer.join()
    mqtt_broker.publish("a", "x")
    assert mqtt_broker.wait_for("a", own=True).text == "x"


def test_a_failed_wait_says_what_did_arrive(mqtt_broker: TestBroker) -> None:
    mqtt_broker.publish("a/b", "not this one")
    mqtt_broker.publish("x/y", "cold")
    with pytest.raises(WaitTimeout) as caught:
        mqtt_broker.wait_for("x/#", own=True, timeout=0.05, where=lambda m: m.json()["t"] > 20)
    told = str(caught.value)
    assert told.startswith('messages to "x/#": 0 of 1 came within 0.05 s\n2 others came:\n')
    assert "the test: a/b qos 0: not this one" in told
    assert "the test: x/y qos 0: cold  (where failed: JSONDecodeError" in told
    with pytest.raises(WaitTimeout, match=r"PUBACK out of dev: 0 of 1 came .*\nnothing else"):
        mqtt_broker.wait_for_packet("PUBACK", timeout=0.01, client="dev", direction="out")


def test_only_printed_items_become_text() -> None:
    class Item:
        told = 0

        def __str__(self) -> str:
            Item.told += 1
            return "an item"

    search = Search[Item]("items", 200, lambda item: item in wanted, None)
    wanted = [Item() for _ in range(100)]
    for item in [*wanted, *(Item() for _ in range(100))]:
        search.offer(item)
    assert Item.told == 0
    told = str(search.failure(1.0))
    assert told.startswith("items: 100 of 200 came within 1 s\n  found: an item\n")
    assert "\n100 others came, the last 20:\n" in told
    assert Item.told == 40


@pytest.mark.parametrize(
    ("topic", "payload", "told"),
    [
        ("a", "é" + "x" * 100, "a qos 0: é" + "x" * 58 + "... (102 bytes)"),
        ("a", "x" + "é" * 100, "a qos 0: x" + "é" * 29 + "... (201 bytes)"),
        ("a", b"\xc3", "a qos 0: c3"),
        ("a", b"\xff\x00" * 31, "a qos 0: " + "ff 00 " * 29 + "ff 00... (62 bytes)"),
        ("a\nb", b"one\ntwo\x1b[31m", r"a\nb qos 0: one\ntwo\x1b[31m"),
    ],
    ids=["cut before", "cut within", "no text", "bytes", "control characters"],
)
def test_a_line_can_be_read_whatever_is_in_it(topic: str, payload: bytes | str, told: str) -> None:
    data = payload if isinstance(payload, bytes) else payload.encode()
    packet = make_publish(topic, data)
    seen = SeenPacket(
        at=0.0, direction="in", client="one\ntwo", type="PUBLISH", topics=(topic,), packet=packet
    )
    assert str(seen).endswith(rf" one\ntwo -> PUBLISH {told}")
    assert str(Message(topic, data, client="one\ntwo")) == rf"one\ntwo: {told}"
    hook = Webhook("webhook", "memory:", "msg_1", {}, b"one\ntwo", [])
    assert str(hook) == r"webhook msg_1: one\ntwo  []"


def test_what_changes_while_it_is_waited_for_is_told_once_as_it_is_now() -> None:
    hook = Webhook("webhook", "memory:", "msg_1", {}, b"{}", [Try(0.0)])
    search = Search[Webhook]("webhooks", None, lambda one: one.delivered, None)
    search.offer(hook)
    hook.tries[0] = Try(0.0, 503)
    search.offer(hook)
    assert str(search.failure(1.0)).endswith("1 other came:\n  webhook msg_1: {}  [503]")
    hook.tries.append(Try(1.0, 200))
    search.offer(hook)
    assert search.found == [hook]


def test_a_bad_filter_is_an_error_at_once(mqtt_broker: TestBroker) -> None:
    with pytest.raises(ValueError, match='topic filter "a#"'):
        mqtt_broker.wait_for("a#")


def test_packets_of_both_directions(mqtt_broker: TestBroker) -> None:
    with paho_client(mqtt_broker) as client:
        client.subscribe("a/#", qos=1)
        client.publish("a/b", "hi", qos=1)
        mqtt_broker.wait_for_packet("PUBACK", direction="in")
        mqtt_broker.drain()
    closed = mqtt_broker.wait_for_packet("CLOSED", client="dev")
    assert closed.fate == "normal"
    assert [p.type for p in mqtt_broker.packets(client="dev", direction="in")] == [
        *("CONNECT", "SUBSCRIBE", "PUBLISH", "PUBACK", "DISCONNECT", "CLOSED")
    ]
    assert mqtt_broker.packets("puback", direction="out")[0].topic == "a/b"


def test_clients_sessions_and_subscriptions(mqtt_broker: TestBroker) -> None:
    with (
        dial(mqtt_broker, "kept", keepalive=30, session_expiry_interval=60),
        paho_client(mqtt_broker, version=paho.MQTTv311) as client,
    ):
        client.subscribe([("a/+", 1), ("$share/g/b", 2)])
        mqtt_broker.wait_for_packet("SUBACK")
        dev, kept = mqtt_broker.clients["dev"], mqtt_broker.clients["kept"]
        assert (dev.version, dev.clean_start, dev.connected) == (4, True, True)
        assert (kept.version, kept.keepalive, kept.expiry) == (5, 30, 60)
        assert dev.subscriptions == {"a/+": 1, "$share/g/b": 2}
        assert [(s.client, s.topic_filter, s.qos, s.share) for s in mqtt_broker.subscriptions] == [
            ("dev", "a/+", 1, None),
            ("dev", "$share/g/b", 2, "g"),
        ]
    mqtt_broker.wait_for_client("dev", connected=False)
    mqtt_broker.wait_for_client("kept", connected=False)
    assert mqtt_broker.clients == {}
    assert list(mqtt_broker.sessions) == ["kept"]


def test_a_client_that_never_comes(mqtt_broker: TestBroker) -> None:
    with (
        paho_client(mqtt_broker),
        pytest.raises(WaitTimeout, match="ghost is not connected; connected: dev"),
    ):
        mqtt_broker.wait_for_client("ghost", timeout=0.05)


def test_drain_waits_for_acknowledgements(mqtt_broker: TestBroker) -> None:
    with dial(mqtt_broker) as connection:
        connection.sendall(bytes.fromhex("82 07 0001 00 0001 61 01"))
        mqtt_broker.wait_for_packet("SUBACK")
        mqtt_broker.publish("a", "hi", qos=1)
        with pytest.raises(WaitTimeout, match="client dev: 1 messages unacknowledged, 0 waiting"):
            mqtt_broker.drain(timeout=0.05)
        connection.sendall(bytes.fromhex("40 02 0001"))
        mqtt_broker.drain()


def test_send_a_client_away(mqtt_broker: TestBroker) -> None:
    with dial(mqtt_broker) as connection:
        mqtt_broker.disconnect("dev")
        assert connection.recv(100)[::2][:2] == b"\xe0\x98"  # DISCONNECT: administrative action
        with pytest.raises(KeyError):
            mqtt_broker.disconnect("dev")


def test_reset_forgets_everything(mqtt_broker: TestBroker) -> None:
    with dial(mqtt_broker, session_expiry_interval=60):
        mqtt_broker.publish("a", "kept", retain=True)
    mqtt_broker.reset()
    assert mqtt_broker.messages() == mqtt_broker.packets() == mqtt_broker.subscriptions == []
    assert mqtt_broker.sessions == mqtt_broker.retained == {}
    assert len(mqtt_broker.webhooks) == 0
    port = mqtt_broker.port
    with dial(mqtt_broker) as connection:
        assert connection.getpeername()[1] == port


def test_a_connection_left_behind_is_named(mqtt_broker: TestBroker) -> None:
    with dial(mqtt_broker, "forgetful") as connection:
        with pytest.warns(ConnectionLeftBehind, match=r"left connected: forgetful \(127\.0\.0\.1:\d+\)"):
            mqtt_broker.reset()
        assert connection.recv(1) == b""


def test_a_client_that_has_just_left_is_no_cause_for_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            with TestBroker() as broker, dial(broker):
                pass


async def test_a_client_whose_loop_has_still_to_close_it_is_none_either() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with TestBroker() as broker:
            reader, writer = await asyncio.open_connection(broker.host, broker.port)
            writer.write(encode(Connect("MQTT", 5, True, 0, "dev"), 5))
            await reader.readexactly(4)
            writer.close()


@pytest.mark.parametrize("path", ["", "/", "/mqtt"])
def test_the_paths_of_the_websocket(path: str) -> None:
    with TestBroker(ws=True) as broker:
        assert broker.ws.path == "/mqtt"
        url = f"ws://{broker.host}:{broker.ws.port}{path}"
        with connect_websocket(url, subprotocols=[Subprotocol("mqtt")]) as client:
            assert client.subprotocol == "mqtt"


def test_not_running() -> None:
    broker = TestBroker()
    with pytest.raises(RuntimeError, match="not running"):
        broker.reset()
    for ask in ("port", "url", "ws", "listeners", "clients"):
        with pytest.raises(RuntimeError, match=r"not running .*; start\(\) it"):
            getattr(broker, ask)
    broker.stop()  # harmless


def test_what_is_not_there_is_said(mqtt_broker: TestBroker) -> None:
    with pytest.raises(
        RuntimeError, match=r"this broker has no ssl listener, only tcp; make it with tls=True"
    ):
        _ = mqtt_broker.tls
    with pytest.raises(RuntimeError, match="make it with virtual_clock=True"):
        mqtt_broker.clock.advance(1)


async def test_waiting_in_an_event_loop(mqtt_broker: TestBroker) -> None:
    with pytest.raises(RuntimeError, match=r"write: await broker.aio.wait_for\(...\)"):
        mqtt_broker.wait_for("a")
    mqtt_broker.publish("a", "hi")
    assert (await mqtt_broker.aio.wait_for("a", own=True)).text == "hi"
    with pytest.raises(WaitTimeout, match='messages to "b": 0 of 1'):
        await mqtt_broker.aio.wait_for("b", timeout=0.05)
    await mqtt_broker.aio.drain()


async def test_as_an_asynchronous_context_manager() -> None:
    import aiomqtt

    async with TestBroker() as broker, aiomqtt.Client(broker.host, broker.port, identifier="dev") as client:
        await client.subscribe("a/#")
        await client.publish("a/b", "hi", qos=2)
        assert (await broker.wait_for("a/b")).client == "dev"
        async for message in client.messages:
            assert message.payload == b"hi"
            break
        await broker.wait_for_packet("PUBCOMP", client="dev", direction="out")


def test_the_addresses_of_a_file_are_not_used(make_mqtt_broker, tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(
        f"""
        listeners.tcp.bind = "0.0.0.0:1883"
        listeners.tcp.second.bind = "192.0.2.1:1884"
        listeners.unix.path = "{tmp_path}/mqtt.sock"
        """,
        encoding="utf-8",
    )
    broker: TestBroker = make_mqtt_broker(conf=conf)
    tcp, second, unix = (broker.listeners[name] for name in ("tcp", "tcp.second", "unix"))
    assert (tcp.host, second.host) == ("127.0.0.1", "127.0.0.1")
    assert len({tcp.port, second.port, 1883, 1884}) == 4
    assert Path(unix.path).exists()
    assert not (tmp_path / "mqtt.sock").exists()
    assert unix.url.endswith(unix.path)


def test_clients_trust_the_certificate_of_a_file(make_mqtt_broker, tmp_path: Path) -> None:
    made = certificate("127.0.0.1")
    for file in (made.certfile, made.keyfile):
        shutil.copy(file, tmp_path)
    conf = tmp_path / "nanomq.conf"
    lines = f'certfile = "{tmp_path}/cert.pem", keyfile = "{tmp_path}/key.pem"'
    conf.write_text(f'listeners.ssl {{ bind = "0.0.0.0:8883", {lines} }}', encoding="utf-8")
    broker: TestBroker = make_mqtt_broker(conf=conf)
    assert broker.tls.cafile == tmp_path / "cert.pem"


def test_presets_are_there_again_after_a_reset(make_mqtt_broker, tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(
        'preset.session.one { clientid = "dev", topic = [{ remote_topic = "a/#", qos = 1 }] }',
        encoding="utf-8",
    )
    broker: TestBroker = make_mqtt_broker(conf=conf)
    broker.publish("a/b", "kept", qos=1)
    assert broker.sessions["dev"].queued == 1
    broker.reset()
    assert broker.sessions["dev"].queued == 0
    assert [one.topic_filter for one in broker.subscriptions] == ["a/#"]
