"""A clock that a test moves: whatever is due happens at once, in order, without sleeping."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Iterable

import pytest

from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import Connect, Will
from pybroker.broker.packets.properties import Properties
from pybroker.broker.testing.clock import VirtualClock
from pybroker.broker.testing.webhooks import Try
from pybroker.testing import Message, SeenPacket, TestBroker
from tests.waiting import DEADLINE

from .support import dial

PINGREQ = b"\xc0\x00"

pytestmark = pytest.mark.mqtt_broker(virtual_clock=True)


def test_a_keepalive_runs_out(mqtt_broker: TestBroker) -> None:
    with dial(mqtt_broker, keepalive=60) as connection:
        mqtt_broker.clock.advance(89)
        assert "dev" in mqtt_broker.clients
        mqtt_broker.clock.advance(1)
        assert mqtt_broker.clients == {}
        assert mqtt_broker.wait_for_packet("CLOSED").fate == "keepalive_timeout"
        assert connection.recv(100)[2] == 0x8D


def test_a_session_expires(mqtt_broker: TestBroker) -> None:
    with dial(mqtt_broker, session_expiry_interval=3600):
        pass
    mqtt_broker.wait_for_client("dev", connected=False)
    mqtt_broker.clock.advance(3599)
    assert "dev" in mqtt_broker.sessions
    mqtt_broker.clock.advance(1)
    assert mqtt_broker.sessions == {}


def test_a_message_expires(mqtt_broker: TestBroker) -> None:
    with dial(mqtt_broker) as connection:
        properties = Properties(message_expiry_interval=10)
        connection.sendall(encode(make_publish("a", b"x", retain=True, properties=properties, version=5), 5))
        mqtt_broker.wait_for("a")
        assert list(mqtt_broker.retained) == ["a"]
        mqtt_broker.clock.advance(10)
        assert mqtt_broker.retained == {}


def test_wills_come_in_the_order_of_their_delays(mqtt_broker: TestBroker) -> None:
    for name, delay in (("late", 40), ("early", 20), ("now", 0)):
        will = Will("gone", name.encode(), properties=Properties(will_delay_interval=delay))
        connect = Connect(
            "MQTT", 5, True, 0, name, will=will, properties=Properties(session_expiry_interval=100)
        )
        with socket.create_connection((mqtt_broker.host, mqtt_broker.port)) as connection:
            connection.sendall(encode(connect, 5))
            mqtt_broker.wait_for_client(name)
        mqtt_broker.wait_for_client(name, connected=False)
    start = mqtt_broker.clock.time()
    assert [m.text for m in mqtt_broker.messages("gone")] == ["now"]
    mqtt_broker.clock.advance(90)
    gone = mqtt_broker.messages("gone")
    assert [(m.text, round(m.at - start)) for m in gone] == [("now", 0), ("early", 20), ("late", 40)]


@pytest.mark.mqtt_broker(virtual_clock=True, webhooks=["on_message_publish"])
def test_a_webhook_is_tried_again(mqtt_broker: TestBroker) -> None:
    mqtt_broker.webhooks.answer_with(500, "refused", 429, then=200)
    mqtt_broker.publish("a", "x")
    hook = mqtt_broker.wait_for_webhook("message_publish", delivered=False)
    mqtt_broker.clock.advance(90)
    assert [str(one) for one in hook.tries] == ["500", "cannot connect: connection refused", "429", "200"]
    assert hook.delivered
    first, *_, last = (one.at for one in hook.tries)
    assert 0 < last - first <= 90
    mqtt_broker.drain()


@pytest.mark.mqtt_broker(virtual_clock=True, webhooks=["on_message_publish"])
def test_an_endpoint_that_hangs_is_given_up(mqtt_broker: TestBroker) -> None:
    mqtt_broker.webhooks.answer_with("hang", 204)
    mqtt_broker.publish("a", "x")
    hook = mqtt_broker.wait_for_webhook(delivered=False)
    assert str(hook.tries[0]) == "not answered yet"
    mqtt_broker.clock.advance(60)
    assert [str(one) for one in hook.tries] == ["given up", "204"]


@pytest.mark.mqtt_broker(virtual_clock=True, webhooks=["on_client_disconnected", "on_message_publish"])
def test_all_that_falls_due_comes_in_its_order(mqtt_broker: TestBroker) -> None:
    start = mqtt_broker.clock.time()

    def moments(found: Iterable[SeenPacket | Message | Try]) -> list[float]:
        return [one.at - start for one in found]

    mqtt_broker.webhooks.answer_with(503, then=200)
    properties = Properties(will_delay_interval=30, message_expiry_interval=50)
    will = Will("gone", b"offline", retain=True, properties=properties)
    connect = Connect(
        "MQTT", 5, True, 60, "dev", will=will, properties=Properties(session_expiry_interval=100)
    )
    with socket.create_connection((mqtt_broker.host, mqtt_broker.port), timeout=DEADLINE) as connection:
        connection.sendall(encode(connect, 5))
        mqtt_broker.wait_for_client("dev")
        mqtt_broker.clock.advance(160)

    assert moments(mqtt_broker.packets("CLOSED")) == [90]
    assert moments(mqtt_broker.messages("gone")) == [120]
    disconnected, published = mqtt_broker.webhooks
    first, second = moments(disconnected.tries)
    assert (first, published.action) == (90, "message_publish")
    assert 90 < second < 120
    assert moments(published.tries) == [120]
    assert (list(mqtt_broker.retained), list(mqtt_broker.sessions)) == (["gone"], ["dev"])
    mqtt_broker.clock.advance(10)
    assert (list(mqtt_broker.retained), list(mqtt_broker.sessions)) == ([], ["dev"])
    mqtt_broker.clock.advance(20)
    assert mqtt_broker.sessions == {}


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
def test_time_goes_on_by_seconds(mqtt_broker: TestBroker, seconds: float) -> None:
    mqtt_broker.clock.advance(2)
    before = mqtt_broker.clock.time()
    with pytest.raises(ValueError, match=rf"at least 0, not {seconds}"):
        mqtt_broker.clock.advance(seconds)
    assert mqtt_broker.clock.time() == before


@pytest.mark.mqtt_broker(virtual_clock=True, host="localhost")  # a name is looked up in a thread
def test_an_outage_ends_when_it_is_due(mqtt_broker: TestBroker) -> None:
    with mqtt_broker.faults("restart", packet="PINGREQ", seconds=20), dial(mqtt_broker) as connection:
        connection.sendall(PINGREQ)
        assert connection.recv(1) == b""
    mqtt_broker.clock.advance(19)
    with pytest.raises(ConnectionRefusedError), dial(mqtt_broker):
        pass
    mqtt_broker.clock.advance(1)
    with dial(mqtt_broker):
        pass


def test_reset_ends_an_outage_and_what_would_have_ended_it(mqtt_broker: TestBroker) -> None:
    with mqtt_broker.faults("restart", packet="PINGREQ", seconds=20), dial(mqtt_broker) as connection:
        connection.sendall(PINGREQ)
        assert connection.recv(1) == b""
    mqtt_broker.reset()
    with dial(mqtt_broker):
        pass
    with mqtt_broker.outage():
        mqtt_broker.clock.advance(20)
        with pytest.raises(ConnectionRefusedError), dial(mqtt_broker):
            pass


def test_the_clock_is_stopped(mqtt_broker: TestBroker) -> None:
    before = mqtt_broker.clock.time()
    with dial(mqtt_broker):
        assert mqtt_broker.clock.time() == before
    mqtt_broker.clock.advance(0.5)
    assert mqtt_broker.clock.time() == before + 0.5


async def test_timers_that_are_due_now_run_by_themselves() -> None:
    clock, ran = VirtualClock(asyncio.get_running_loop(), lambda: 0), []
    clock.call_at(clock.monotonic(), lambda: ran.append("now"))
    clock.call_at(clock.monotonic() + 1, lambda: ran.append("later"))
    while not ran:
        await asyncio.sleep(0)
    assert ran == ["now"]
    await clock.advance(1)
    assert ran == ["now", "later"]
    clock.call_at(clock.monotonic() + 1, lambda: ran.append("never"))
    clock.stop()
    await clock.advance(10)
    assert ran == ["now", "later"]


async def test_what_a_timer_sets_off_happens_before_time_goes_on() -> None:
    loop, moments = asyncio.get_running_loop(), []
    clock = VirtualClock(loop, lambda: len(moments))

    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        moments.append(clock.monotonic())
        clock.call_at(clock.monotonic() + 1, begin)

    def begin() -> None:
        tasks.append(loop.create_task(work()))

    tasks: list[asyncio.Task[None]] = []
    clock.call_at(1, begin)
    await clock.advance(3)
    assert moments == [1, 2, 3]
