"""Bridges between real brokers."""

from __future__ import annotations

import socket
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from pybroker.broker.bridge import bridge as bridge_module
from pybroker.broker.config import load
from pybroker.testing import TestBroker

from ..testing.support import paho_client
from .support import (
    Scripted,
    bridge,
    bridged,
    comes,
    forward,
    forwards,
    mosquitto,
    needs_mosquitto,
    status,
    subscription,
    url,
    wait_for_state,
    wait_until,
)

BOTH = forwards(forward("out/#")), subscription(comes("in/#"))


def payloads(broker: TestBroker, topic: str) -> list[str]:
    return [one.text for one in broker.messages(topic)]


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_both_directions(version: int, qos: int) -> None:
    with TestBroker() as remote, bridged(bridge(url(remote), f"proto_ver = {version}", *BOTH)) as broker:
        assert status(broker).version == version
        for number in range(100):
            broker.publish("out/x", str(number), qos=qos)
            remote.publish("in/x", str(number), qos=qos)
        wanted = [str(number) for number in range(100)]
        wait_until(lambda: len(remote.messages("out/x")) >= 100, "all are there")
        wait_until(lambda: len(broker.messages("in/x")) >= 100, "all are here")
        assert payloads(remote, "out/x") == wanted
        assert payloads(broker, "in/x") == wanted
        assert {one.qos for one in remote.messages("out/x")} == {qos}
        assert {one.qos for one in broker.messages("in/x")} == {qos}
        wait_until(lambda: not status(broker).queued, "all are acknowledged")
        assert not status(broker).counters.dropped


@needs_mosquitto
@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_burst_of_qos_2_to_mosquitto(tmp_path: Path, version: int) -> None:
    server = "mqtt-tcp://127.0.0.1:{}"
    with (
        mosquitto(tmp_path, "max_queued_messages 0") as port,
        bridged(bridge(server.format(port), f"proto_ver = {version}", *BOTH)) as broker,
        bridged(bridge(server.format(port), "clientid = other", subscription(comes("out/#")))) as other,
    ):
        for number in range(1000):
            broker.publish("out/x", str(number), qos=2)
        wait_until(lambda: len(other.messages("out/x")) >= 1000, "all are there")
        assert payloads(other, "out/x") == [str(number) for number in range(1000)]
        assert status(broker).counters.connects == 1


@needs_mosquitto
@pytest.mark.parametrize("version", [3, 4, 5])
def test_mosquitto_at_the_other_end(tmp_path: Path, version: int) -> None:
    with (
        mosquitto(tmp_path) as port,
        bridged(bridge(f"mqtt-tcp://127.0.0.1:{port}", f"proto_ver = {version}", *BOTH)) as broker,
        bridged(
            bridge(
                f"mqtt-tcp://127.0.0.1:{port}",
                "clientid = other",
                forwards(forward("in/#")),
                subscription(comes("out/#")),
            )
        ) as other,
    ):
        for qos in (0, 1, 2):
            for number in range(30):
                broker.publish(f"out/{qos}", str(number), qos=qos, retain=number == 29)
                other.publish(f"in/{qos}", str(number), qos=qos)
        for qos in (0, 1, 2):
            wait_until(lambda qos=qos: len(other.messages(f"out/{qos}")) >= 30, "all are there")
            wait_until(lambda qos=qos: len(broker.messages(f"in/{qos}")) >= 30, "all are here")
            assert payloads(other, f"out/{qos}") == [str(number) for number in range(30)]
            assert payloads(broker, f"in/{qos}") == [str(number) for number in range(30)]
        assert not status(broker).counters.dropped
        assert not status(other).counters.dropped


def test_what_is_published_while_the_link_is_down_arrives_once_and_in_order() -> None:
    with TestBroker() as remote, bridged(bridge(url(remote), *BOTH)) as broker:
        with remote.outage():
            wait_for_state(broker, "disconnected")
            for number in range(3000):
                broker.publish("out/x", str(number), qos=1 + number % 2)
            broker.publish("out/r", "kept", retain=True)
            broker.publish("out/gone", "not retained")
            assert status(broker).queued == 3001
        wait_for_state(broker, "connected")
        wait_until(lambda: not status(broker).queued, "all are acknowledged")
        assert payloads(remote, "out/x") == [str(number) for number in range(3000)]
        assert remote.retained["out/r"].text == "kept"
        assert payloads(remote, "out/gone") == []


def test_a_deletion_while_the_link_is_down_is_made_up() -> None:
    with TestBroker() as remote, bridged(bridge(url(remote), *BOTH)) as broker:
        broker.publish("out/r", "x", retain=True)
        wait_until(lambda: "out/r" in remote.retained, "it is retained there")
        with remote.outage():
            wait_for_state(broker, "disconnected")
            broker.publish("out/r", None, retain=True)
        wait_until(lambda: "out/r" not in remote.retained, "it is gone there")


def test_what_is_retained_before_there_was_a_bridge_is_sent_once() -> None:
    with TestBroker() as remote, TestBroker() as broker:
        for number in range(200):
            broker.publish(f"out/{number}", str(number), retain=True)
        reload(broker, bridge(url(remote), *BOTH))
        wait_until(lambda: len(remote.retained) >= 200, "all are retained there")
        with remote.outage():
            wait_for_state(broker, "disconnected")
        wait_for_state(broker, "connected")
        broker.publish("out/end", "", qos=1)
        remote.wait_for("out/end")
        assert len(remote.messages("out/#")) == 201


def test_a_bridge_that_is_off_keeps_what_comes_until_it_is_switched_on() -> None:
    with TestBroker() as remote:
        text = bridge(url(remote), "enable = false", *BOTH)
        with TestBroker(conf_text=text) as broker:
            broker.publish("out/x", "1", qos=1)
            assert status(broker).state == "disabled"
            assert status(broker).queued == 1
            broker.running.call(broker.running.app.bridges.all["up"].start)
            assert remote.wait_for("out/x").text == "1"


def test_a_reload_changes_what_has_changed() -> None:
    with TestBroker() as first, TestBroker() as second:
        one = bridge(url(first), forwards(forward("one/#")), name="one")
        two = bridge(url(second), forwards(forward("two/#")), name="two")
        with bridged(one, two) as broker:
            since = status(broker, "one").since
            with second.outage():
                broker.publish("two/x", "waits", qos=1)
                reload(broker, one + bridge(url(second), forwards(forward("two/+")), name="two"))
            second.wait_for("two/x")
            assert status(broker, "one").since == since
            assert status(broker, "one").counters.connects == 1
            reload(broker, one)
            assert list(broker.running.app.bridges.all) == ["one"]
            wait_until(lambda: "$bridge/two" not in sessions(broker), "its session has ended")
            broker.publish("one/x", "1", qos=1)
            first.wait_for("one/x")


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("how", ["reload", "remove", "other client identifier", "removed while it was off"])
def test_the_remote_session_of_a_removed_bridge_ends(version: int, how: str) -> None:
    text = f"proto_ver = {version}, clientid = {{}}"

    def there(name: str) -> bool:
        return remote.running.call(lambda: name in remote.running.app.engine.sessions)

    with TestBroker() as remote, bridged(bridge(url(remote), text.format("first"), *BOTH)) as broker:
        bridges = broker.running.app.bridges
        assert there("first")
        if how == "reload":
            reload(broker, "")
        elif how == "remove":
            broker.running.call(lambda: bridges.remove("up"))
        elif how == "other client identifier":
            reload(broker, bridge(url(remote), text.format("second"), *BOTH))
            wait_until(lambda: there("second"), "the other one is there")
        else:
            broker.running.call(lambda: bridges.switch("up", on=False))
            assert there("first"), "it is switched on again later"
            broker.running.call(lambda: bridges.remove("up"))
        wait_until(lambda: not there("first"), "its session there has ended")


def test_a_session_that_cannot_be_ended_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with (
        TestBroker() as remote,
        bridged(bridge(url(remote), "clientid = lost", *BOTH)) as broker,
        remote.outage(),
    ):
        wait_for_state(broker, "disconnected")
        reload(broker, "")
        wait_until(lambda: "may still be there" in caplog.text, "it is told")
    assert f"Its session at {url(remote)}, with the client identifier lost, may still be there" in caplog.text


def test_a_reload_takes_subscriptions_back() -> None:
    with (
        TestBroker() as remote,
        bridged(bridge(url(remote), subscription(comes("a/#"), comes("b/#")))) as broker,
    ):
        wait_until(lambda: subscribed_at(remote) == ["a/#", "b/#"], "both are there")
        reload(broker, bridge(url(remote), subscription(comes("a/#"), comes("c/#"))))
        wait_until(lambda: subscribed_at(remote) == ["a/#", "c/#"], "b/# is taken back")


def test_what_is_retained_before_a_forward_is_sent_once_there_is_one() -> None:
    with TestBroker() as remote, bridged(bridge(url(remote), forwards(forward("a/#")))) as broker:
        broker.publish("b/1", "before", qos=1, retain=True)
        broker.publish("a/1", "once", qos=1, retain=True)
        remote.wait_for("a/1")
        reload(broker, bridge(url(remote), forwards(forward("a/#"), forward("b/#"))))
        assert remote.wait_for("b/1").text == "before"
        broker.publish("b/last", "", qos=1)
        remote.wait_for("b/last")
        assert [one.topic for one in remote.messages()] == ["a/1", "b/1", "b/last"]


def subscribed_at(remote: TestBroker, name: str = "up") -> list[str]:
    """The topic filters of the bridge's session there."""

    def found() -> list[str]:
        session = remote.running.app.engine.sessions.get(f"{socket.gethostname()}.{name}")
        return sorted(session.subscriptions) if session is not None else []

    return remote.running.call(found)


def reload(broker: TestBroker, text: str) -> None:
    app = broker.running.app
    with NamedTemporaryFile("w", suffix=".conf") as file:
        file.write('listeners.tcp.bind = "127.0.0.1:0"\n' + text)
        file.flush()
        settings = load(Path(file.name))
    broker.running.run(app.reload(settings)).result()


def sessions(broker: TestBroker) -> list[str]:
    return broker.running.call(lambda: [one.client_id for one in broker.running.app.engine.sessions])


def test_messages_of_qos_0_wait_where_that_is_asked_for() -> None:
    with TestBroker() as remote, bridged(bridge(url(remote), "retry_qos_0 = true", *BOTH)) as broker:
        with remote.outage():
            wait_for_state(broker, "disconnected")
            for number in range(10):
                broker.publish("out/x", str(number))
        wait_until(lambda: len(remote.messages("out/x")) >= 10, "all are there")
        assert payloads(remote, "out/x") == [str(number) for number in range(10)]


def test_what_waits_is_bounded_and_what_is_dropped_is_counted() -> None:
    text = bridge("mqtt-tcp://127.0.0.1:1", "max_send_queue_len = 5", *BOTH)
    with TestBroker(conf_text=text) as broker:
        for number in range(8):
            broker.publish("out/x", str(number), qos=1)
        assert status(broker).queued == 5
        assert broker.running.app.engine.counters.dropped["queue_full"] == 3


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1])
def test_the_same_topics_both_ways(version: int, qos: int) -> None:
    lines = f"proto_ver = {version}", forwards(forward("#")), subscription(comes("#"))
    with TestBroker() as remote, bridged(bridge(url(remote), *lines)) as broker:
        broker.publish("a", "here", qos=qos)
        remote.publish("a", "there", qos=qos)
        for one in (broker, remote):
            wait_until(lambda one=one: len(one.messages("a")) >= 2, "both are there")
        broker.publish("end", "1", qos=1)
        remote.publish("end", "2", qos=1)
        for one in (broker, remote):
            wait_until(lambda one=one: len(one.messages("end")) >= 2, "both ends are there")
            assert sorted(payloads(one, "a")) == ["here", "there"]


@pytest.mark.parametrize("versions", [(4, 4), (5, 5), (4, 5), (5, 4)])
def test_two_bridges_to_one_remote_broker(versions: tuple[int, int]) -> None:
    with TestBroker() as remote:
        lines = forwards(forward("#")), subscription(comes("#"))
        sections = [
            bridge(url(remote), f"proto_ver = {version}", *lines, name=f"b{number}")
            for number, version in enumerate(versions)
        ]
        with bridged(*sections) as broker:
            broker.publish("a", "here", qos=1)
            remote.wait_for("a")
            remote.publish("a", "there", qos=1)
            broker.wait_for("a")
            for number in range(2):  # each is behind what the bridges may have sent a second time
                (broker, remote)[number].publish("end", str(number), qos=1)
                (remote, broker)[number].wait_for("end")
            for one in (remote, broker):
                assert payloads(one, "a") == ["here", "there"]


def test_a_ring_of_three() -> None:
    lines = forwards(forward("#")), subscription(comes("#"))
    with (
        TestBroker() as first,
        bridged(bridge(url(first), *lines)) as second,
        TestBroker(conf_text=bridge(url(second), *lines)) as third,
    ):
        wait_for_state(third, "connected")
        # first and third are joined, too: that closes the ring
        text = bridge(url(first), *lines) + bridge(url(third), *lines, name="ring")
        with TestBroker(conf_text=text) as fourth:
            for name in ("up", "ring"):
                wait_for_state(fourth, "connected", name)
            brokers = (first, second, third, fourth)
            for number, broker in enumerate(brokers):
                broker.publish("a", str(number), qos=1)
            for broker in brokers:
                wait_until(lambda b=broker: len(set(payloads(b, "a"))) == 4, "all have come")
            for number, broker in enumerate(brokers):
                broker.publish("end", str(number), qos=1)
            for broker in brokers:
                wait_until(lambda b=broker: len(set(payloads(b, "end"))) == 4, "all ends have come")
            for broker in brokers:
                assert sorted(payloads(broker, "a")) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x01", None])
def test_a_remote_broker_that_does_not_know_the_bridge_bit(answer: bytes | None) -> None:
    def first(data: bytes) -> bytes | None:
        return answer if data[8] & 0x80 else b"\x20\x02\x00\x00"

    with Scripted(first) as remote:
        text = bridge(f"mqtt-tcp://127.0.0.1:{remote.port}", "proto_ver = 4", *BOTH)
        with bridged(text) as broker:
            assert [data[8] for data in remote.first] == [0x84, 4]
            assert status(broker).version == 4


def test_a_remote_broker_that_knows_3_1_1_alone() -> None:
    def first(data: bytes) -> bytes:
        return b"\x20\x02\x00\x01" if data[8] != 4 else b"\x20\x02\x00\x00"

    with Scripted(first) as remote, bridged(bridge(f"mqtt-tcp://127.0.0.1:{remote.port}", *BOTH)):
        assert [data[8] for data in remote.first] == [5, 0x84, 4]


def test_a_refusal_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with TestBroker(users={"bridge": "right"}) as remote:
        text = bridge(url(remote), 'username = bridge, password = "wr0ng-secret"', *BOTH)
        with TestBroker(conf_text=text) as broker:
            wait_for_state(broker, "disconnected")
            now = status(broker)
            assert "it refuses the connection: bad username or password" in now.last_error
            assert now.next_try is not None
    assert "wr0ng-secret" not in caplog.text


def test_a_server_that_cannot_be_reached_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    text = bridge("mqtt-tcp://127.0.0.1:1", "backoff_max = 1s", *BOTH)
    with TestBroker(conf_text=text, virtual_clock=True) as broker:
        wait_for_state(broker, "disconnected")
        for _ in range(5):
            before = status(broker).next_try
            broker.clock.advance(2)
            wait_until(lambda before=before: status(broker).next_try != before, "it has tried again")
    lines = [one.getMessage() for one in caplog.records if one.name == "pybroker.bridge"]
    assert len(lines) == 1
    assert "nothing listens there" in lines[0]


def test_another_server_until_the_first_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "LOOK_FOR_FIRST", 0.01)
    with TestBroker() as main, TestBroker() as spare:
        text = bridge(url(main), f'hybrid_servers = ["{url(spare)}"]', *BOTH)
        with bridged(text) as broker:
            assert status(broker).server == url(main)
            with main.outage():
                wait_until(lambda: status(broker).server == url(spare), "the spare one is used")
                wait_for_state(broker, "connected")
                broker.publish("out/x", "1", qos=1)
                spare.wait_for("out/x")
            wait_until(lambda: status(broker).server == url(main), "the first one is used again")
            wait_for_state(broker, "connected")
            broker.publish("out/y", "2", qos=1)
            main.wait_for("out/y")


def test_its_state_is_a_retained_topic() -> None:
    def state() -> bytes:
        message = broker.running.app.engine.retained.get("$SYS/broker/connection/up/state")
        return message.payload if message is not None else b"none"

    with TestBroker() as remote, bridged(bridge(url(remote), *BOTH)) as broker:
        assert state() == b"1"
        with remote.outage():
            wait_until(lambda: state() == b"0", "it is down")


def test_nobody_else_can_have_its_client_identifier() -> None:
    with TestBroker() as remote, bridged(bridge(url(remote), *BOTH)) as broker:
        with paho_client(broker, "$bridge/up", wait=False) as client:
            wait_until(lambda: broker.running.app.engine.counters.refused.total(), "it is refused")
            assert not client.is_connected()
        assert status(broker).state == "connected"


def test_a_transparent_bridge_repeats_the_subscriptions_of_clients() -> None:
    with TestBroker() as remote, bridged(bridge(url(remote), "transparent = true")) as broker:

        def subscribed() -> list[str]:
            return subscribed_at(remote)

        with paho_client(broker, "lamp") as client:
            client.subscribe([("a/#", 1), ("b", 0)])
            wait_until(lambda: subscribed() == ["a/#", "b"], "both are repeated")
            remote.publish("a/x", "1", qos=1)
            assert broker.wait_for("a/x").text == "1"
            with remote.outage():
                wait_for_state(broker, "disconnected")
                client.unsubscribe("b")
                client.subscribe("c", 1)
            wait_for_state(broker, "connected")
            wait_until(lambda: subscribed() == ["a/#", "c"], "what came meanwhile is made up")
            client.unsubscribe("a/#")
            wait_until(lambda: "a/#" not in subscribed(), "it is taken back")


def test_an_outage_of_the_broker_with_the_bridge() -> None:
    with TestBroker() as remote, bridged(bridge(url(remote), *BOTH)) as broker:
        for keep_state in (True, False):
            with broker.outage(keep_state=keep_state):
                assert status(broker).state == "disabled"
                remote.publish("in/x", "meanwhile", qos=1)
            wait_for_state(broker, "connected")
            broker.wait_for("in/x")
            broker.publish("out/x", "1", qos=1)
            remote.wait_for("out/x")
            broker.reset()
            wait_for_state(broker, "connected")
