"""Which events reach plugins, with what, and when."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pybroker.broker.config.settings import AuthSettings
from pybroker.broker.packets.model import Pingreq, Unsubscribe, Will
from pybroker.broker.packets.reasons import ReasonCode

from .samples import PacketRecorder, Recorder, Topics
from .support import SAMPLES, Hosted, settle

RECORDER = {f"{SAMPLES}.Recorder": {}}


async def test_clients_come_and_go() -> None:
    broker = Hosted(RECORDER)
    recorder = broker.plugin(Recorder)
    client = await broker.join("c", version=4, username="ada", keepalive=60)
    await settle()

    [facts] = recorder.of("client_connected")
    session = facts["session"]
    assert facts["client_id"] == session.client_id == "c"
    assert (session.username, session.keep_alive, session.clean_session) == ("ada", 60, True)
    assert (session.remote_address, session.remote_port) == ("192.0.2.1", 50000)
    assert session.transitions.state == "connected"
    assert broker.host.sessions["c"][0] is session

    client.disconnect()
    await settle()
    [facts] = recorder.of("client_disconnected")
    assert facts == {"client_id": "c", "session": session}
    assert session.transitions.is_disconnected()
    assert recorder.names == ["client_connected", "client_disconnected"]
    assert list(broker.host.sessions) == []


async def test_the_view_of_a_session_lasts_as_long_as_the_session() -> None:
    broker = Hosted(RECORDER)
    recorder = broker.plugin(Recorder)
    client = await broker.join("c", username="ada", session_expiry_interval=100)
    await settle()
    view = recorder.of("client_connected")[0]["session"]
    view.attributes["mine"] = 1

    client.disconnect()
    assert broker.host.sessions["c"][0] is view

    client = await broker.join("c", clean_start=False, username="ada", session_expiry_interval=100)
    await settle()
    assert recorder.of("client_connected")[1]["session"] is view
    assert view.attributes == {"mine": 1}

    client.disconnect()
    await broker.join("c", clean_start=False, username="bob", session_expiry_interval=100)
    await settle()
    assert view.attributes == {}, "what was noted of one user is not another's"
    assert view.username == "bob"

    await broker.join("c", clean_start=True)
    assert broker.host.sessions["c"][0] is not view


async def test_a_takeover_is_one_going_and_one_coming() -> None:
    broker = Hosted(RECORDER)
    recorder = broker.plugin(Recorder)
    await broker.join("c", username="first")
    await broker.join("c", username="second")
    await settle()

    assert recorder.names == ["client_connected", "client_disconnected", "client_connected"]
    assert [facts["session"].username for _, facts in recorder.events] == ["first", "first", "second"]
    assert recorder.events[2][1]["session"].transitions.is_connected()


async def test_subscriptions() -> None:
    broker = Hosted(RECORDER)
    client = await broker.join("c")
    client.subscribe("a/+", qos=2)
    client.send(Unsubscribe(9, ["a/+"]))
    await settle()

    recorder = broker.plugin(Recorder)
    assert recorder.of("client_subscribed") == [{"client_id": "c", "topic": "a/+", "qos": 2}]
    assert recorder.of("client_unsubscribed") == [{"client_id": "c", "topic": "a/+"}]


async def test_messages() -> None:
    broker = Hosted(RECORDER)
    client = await broker.join("c")
    client.publish("a", b"\x00\xff", qos=1)
    await settle()

    recorder = broker.plugin(Recorder)
    assert recorder.names == ["client_connected", "message_received", "message_broadcast"]
    for _, facts in recorder.events[1:]:
        message = facts["message"]
        assert facts["client_id"] == "c"
        assert (message.topic, message.data, message.qos, message.retain) == ("a", b"\x00\xff", 1, False)
        assert message.publish_packet.topic_name == "a"
        assert message.publish_packet.data == b"\x00\xff"


async def test_a_message_that_may_not_be_published_is_received_but_not_broadcast() -> None:
    Topics.asked.clear()
    broker = Hosted({**RECORDER, f"{SAMPLES}.Topics": {"answers": {"publish a": False}}})
    client = await broker.join("c")
    client.send_publish("a", qos=1)
    await settle()

    recorder = broker.plugin(Recorder)
    assert [facts["client_id"] for facts in recorder.of("message_received")] == ["c"]
    assert recorder.of("message_broadcast") == []


async def test_the_brokers_own_messages_are_no_event() -> None:
    broker = Hosted(RECORDER)
    await broker.host.internal_message_broadcast("a", b"x")
    await settle()

    assert broker.plugin(Recorder).names == []


async def test_retained_messages() -> None:
    broker = Hosted(RECORDER)
    client = await broker.join("c")
    client.publish("a", b"x", qos=1, retain=True)
    client.publish("a", b"", retain=True)
    client.publish("b", b"not retained")
    await settle()

    told = broker.plugin(Recorder).of("retained_message")
    assert [facts["client_id"] for facts in told] == [None, None]
    assert [(facts["message"].topic, facts["message"].data) for facts in told] == [("a", b"x"), ("a", b"")]
    assert told[0]["message"].qos == 1
    assert told[0]["message"].source_session is broker.host.sessions["c"][0]


async def test_messages_that_wait_for_a_client_that_is_away() -> None:
    broker = Hosted(RECORDER)
    away = await broker.join("away", session_expiry_interval=100)
    away.subscribe("a", qos=1)
    away.disconnect()
    client = await broker.join("c")
    client.publish("a", b"lost", qos=0)
    client.publish("a", b"kept", qos=2)
    await settle()

    [facts] = broker.plugin(Recorder).of("retained_message")
    assert facts["client_id"] == "away"
    assert (facts["message"].data, facts["message"].qos) == (b"kept", 1)


async def test_a_will_counts_as_a_message_of_its_client() -> None:
    broker = Hosted(RECORDER)
    client = await broker.join("c", will=Will("gone", b"x"))
    client.drop()
    await settle()

    [facts] = broker.plugin(Recorder).of("message_broadcast")
    assert (facts["client_id"], facts["message"].topic) == ("c", "gone")


async def test_starting_and_stopping() -> None:
    broker = Hosted(RECORDER)
    recorder = broker.plugin(Recorder)
    await broker.host.before_listening()
    assert recorder.names == ["pre_start", "post_start"]

    await broker.join("c")
    await broker.host.before_shutdown()
    assert recorder.events[-1] == ("pre_shutdown", {"clients": 1})
    assert "client_connected" in recorder.names
    await broker.host.after_shutdown()
    assert recorder.names[-2:] == ["post_shutdown", "close"]


async def test_what_plugins_restore_is_there_before_the_first_client() -> None:
    broker = Hosted({f"{SAMPLES}.Restorer": {}, **RECORDER})
    await broker.host.before_listening()

    assert list(broker.host.sessions) == ["away"]
    assert broker.host.sessions["away"][0].transitions.is_disconnected()
    publisher = await broker.join("p")
    publisher.publish("news/2", b"and another", qos=1)
    client = await broker.join("away", version=4, clean_start=False)
    assert client.connack is not None
    assert client.connack.session_present
    assert client.payloads() == [b"while away", b"and another"]
    client.subscribe("state", qos=1)
    retained = client.message()
    assert (retained.payload, retained.qos, retained.retain) == (b"kept", 1, True)
    await settle()
    restored = [facts["client_id"] for facts in broker.plugin(Recorder).of("client_subscribed")]
    assert restored == ["away"], "only what the client itself subscribes to is told of"


async def test_a_session_that_plugins_made_ends_as_the_settings_say() -> None:
    broker = Hosted({f"{SAMPLES}.Restorer": {}}, session_expiry=60.0)
    await broker.host.before_listening()

    broker.clock.advance(59)
    assert list(broker.host.sessions) == ["away"]
    broker.clock.advance(2)
    assert list(broker.host.sessions) == []
    assert broker.host.subscriptions == {}


async def test_a_plugin_that_raises_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    broker = Hosted({f"{SAMPLES}.Failing": {}, **RECORDER})
    await broker.host.before_listening()
    client = await broker.join("c")
    await settle()
    client.ping()
    await broker.host.after_shutdown()

    assert broker.plugin(Recorder).names == [
        "pre_start",
        "post_start",
        "client_connected",
        "post_shutdown",
        "close",
    ]
    for method in ("on_broker_pre_start", "on_broker_client_connected", "close"):
        assert f"plugin method Failing.{method} failed" in caplog.text
    assert "connected is broken" in caplog.text


async def test_a_plugin_that_does_not_end_is_cancelled(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pybroker.broker.plugins.amqtt_host.SHUTDOWN_TIMEOUT", 0.01)
    broker = Hosted({f"{SAMPLES}.Endless": {}})
    await broker.host.before_shutdown()

    assert "Endless.on_broker_pre_shutdown did not end within 0.01 s" in caplog.text
    await settle()


async def test_nobody_listens_where_no_plugin_has_the_method() -> None:
    broker = Hosted({f"{SAMPLES}.Restorer": {}})
    hooks = broker.engine.hooks

    assert hooks.message_published == hooks.message_retained == hooks.message_queued == ()
    assert hooks.session_subscribed == hooks.session_unsubscribed == hooks.message_dropped == ()
    assert broker.engine.taps == ()


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_packets(version: int) -> None:
    broker = Hosted({f"{SAMPLES}.PacketRecorder": {}})
    recorder = broker.plugin(PacketRecorder)
    client = await broker.join("c", version, username="ada", will=Will("will", b"w"))
    client.subscribe("a", qos=1)
    client.send_publish("a", b"hello", qos=1)
    client.send(Pingreq())
    client.send(Unsubscribe(7, ["a"]))
    client.disconnect()
    await settle()

    told = [(way, type(packet).__name__) for way, packet, _ in recorder.packets]
    assert told == [
        ("in", "ConnectPacket"),
        ("out", "ConnackPacket"),
        ("in", "SubscribePacket"),
        ("out", "SubackPacket"),
        ("in", "PublishPacket"),
        ("out", "PublishPacket"),
        ("out", "PubackPacket"),
        ("in", "PingReqPacket"),
        ("out", "PingRespPacket"),
        ("in", "UnsubscribePacket"),
        ("out", "UnsubackPacket"),
        ("in", "DisconnectPacket"),
    ]
    connect = recorder.packets[0][1]
    assert (connect.payload.client_id, connect.payload.username, connect.payload.will_topic) == (
        "c",
        "ada",
        "will",
    )
    publish = recorder.packets[5][1]
    assert (publish.topic_name, publish.data, publish.qos) == ("a", b"hello", 1)
    assert recorder.packets[0][2] is None
    assert {packet[2].client_id for packet in recorder.packets[1:]} == {"c"}  # type: ignore[union-attr]


async def test_a_disconnect_of_the_broker_is_a_packet_too() -> None:
    broker = Hosted({f"{SAMPLES}.PacketRecorder": {}})
    client = await broker.join("c")
    client.channel.close(ReasonCode.SERVER_SHUTTING_DOWN)
    await settle()

    way, packet, _ = broker.plugin(PacketRecorder).packets[-1]
    assert (way, type(packet).__name__) == ("out", "DisconnectPacket")
    assert client.closed(ReasonCode.SERVER_SHUTTING_DOWN)


async def test_a_refused_client_is_seen_in_packets(caplog: Any) -> None:
    caplog.set_level(logging.ERROR)
    broker = Hosted({f"{SAMPLES}.PacketRecorder": {}}, AuthSettings(allow_anonymous=False))
    await broker.join("c", version=4)
    await settle()

    [_, (way, connack, _)] = broker.plugin(PacketRecorder).packets
    assert (way, connack.return_code) == ("out", 5)
    assert caplog.records == []
