"""What a webhook's endpoint sees while real clients come, publish and go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from importlib.resources import files

import jsonschema
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from pybroker.webhook.body.encode import EVENTS
from tests.waiting import DEADLINE

from .clients import VERSIONS, Client, connected
from .support import ROOT, Endpoint, RunningBroker, wait_for

Start = Callable[..., RunningBroker]
V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5


def webhook(endpoint: Endpoint, events: str, extra: str = "") -> str:
    return f'webhook {{ url = "{endpoint.url}", headers.x-extra = "hello", {extra} events = [{events}] }}\n'


ALL_THREE = """
  { event = "on_client_connack" }
  { event = "on_client_disconnected" }
  { event = "on_message_publish", topic = "nmq/#" }
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_the_three_events_of_nanomq(
    start_broker: Start, endpoint: Endpoint, version: MQTTProtocolVersion
) -> None:
    broker = start_broker(webhook(endpoint, ALL_THREE, "pool_size = 1,"))
    with connected(broker.port, "c1", version, connect={"keepalive": 17}) as client:
        client.publish_and_wait("nmq/pub", b"Hello World!", 1)
        client.publish_and_wait("other/pub", b"not asked for", 1)
    connack, publish, disconnected = endpoint.wait(3)
    assert connack == {
        "proto_ver": version.value,
        "keepalive": 17,
        "conn_ack": "success",
        "username": "undefined",
        "clientid": "c1",
        "action": "client_connack",
    }
    assert isinstance(publish.pop("ts"), int)
    assert publish == {
        "topic": "nmq/pub",
        "retain": False,
        "qos": 1,
        "action": "message_publish",
        "from_username": "undefined",
        "from_client_id": "c1",
        "payload": "Hello World!",
    }
    assert disconnected == {
        "reason": "normal",
        "username": "undefined",
        "clientid": "c1",
        "action": "client_disconnected",
    }
    first = endpoint.requests[0]
    assert first.path == "/hook"
    assert first.headers["x-extra"] == "hello"
    assert list(connack) == ["proto_ver", "keepalive", "conn_ack", "username", "clientid", "action"]


def test_every_event_happens_and_fits_the_schema(start_broker: Start, endpoint: Endpoint) -> None:
    events = "\n".join(f'{{ event = "{name}" }}' for name in EVENTS)
    broker = start_broker(webhook(endpoint, events, "pool_size = 1,"))
    with connected(broker.port, "c1", V5, username="u1") as client:
        client.subscribe_and_wait("nmq/#", 1)
        client.publish_and_wait("nmq/pub", b"Hello World!", 1)
        client.wait(1)
        client.publish_and_wait("elsewhere", b"\xff\0", 1)
        client.unsubscribe("nmq/#")
        wait_for(lambda: "session_unsubscribed" in endpoint.actions(), "the end of the subscription")
    endpoint.wait(len(EVENTS))
    happened = {name.removeprefix("on_"): 1 for name in EVENTS if name != "on_message_queued"}
    assert Counter(endpoint.actions()) == happened | {"message_publish": 2}

    with connected(broker.port, "away", clean_session=False) as client:
        client.subscribe_and_wait("nmq/#", 1)
    wait_for(lambda: endpoint.actions().count("client_disconnected") == 2, "the client to be away")
    with connected(broker.port, "c2") as client:
        client.publish_and_wait("nmq/pub", b"later", 1)
    wait_for(lambda: "message_queued" in endpoint.actions(), "the message that waits")

    schema = json.loads((files("pybroker.webhook") / "events.schema.json").read_text())
    for request in endpoint.requests:
        jsonschema.validate(request.json, schema)


def test_a_lost_connection_and_its_will(start_broker: Start, endpoint: Endpoint) -> None:
    broker = start_broker(webhook(endpoint, ALL_THREE, "pool_size = 1,"))
    client = Client("c1", V311)
    client.will_set("nmq/will", b"gone")
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert client.answered.wait(DEADLINE)
    client.loop_stop()
    connection = client.socket()
    assert connection is not None
    connection.close()
    _, will, disconnected = endpoint.wait(3)
    assert (will["topic"], will["payload"], will["from_client_id"]) == ("nmq/will", "gone", "c1")
    assert disconnected["reason"] == "tcp_closed"


def test_a_takeover_says_so(start_broker: Start, endpoint: Endpoint) -> None:
    broker = start_broker(webhook(endpoint, '{ event = "on_client_disconnected" }'))
    same = {"client_id": "same", "version": V5, "reconnect_on_failure": False}
    with connected(broker.port, **same), connected(broker.port, **same):
        assert endpoint.wait(1)[0]["reason"] == "takenover"


def test_a_slow_endpoint_slows_no_client(start_broker: Start, endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    broker = start_broker(webhook(endpoint, ALL_THREE))
    with connected(broker.port, "sub") as sub, connected(broker.port, "pub") as pub:
        sub.subscribe_and_wait("nmq/x", 1)
        for number in range(200):
            pub.publish("nmq/x", str(number), 1)
        assert len(sub.wait(200)) == 200
        endpoint.gate.set()
        wait_for(lambda: endpoint.actions().count("message_publish") == 200, "200 events")


def test_stopping_tells_the_clients_and_empties_the_queue(start_broker: Start, endpoint: Endpoint) -> None:
    broker = start_broker(webhook(endpoint, ALL_THREE, "pool_size = 1,"))
    with connected(broker.port, "c5", V5, reconnect_on_failure=False) as client:
        for number in range(50):
            client.publish("nmq/x", str(number), 1).wait_for_publish(DEADLINE)
        assert broker.stop(signal.SIGTERM) == 0
        assert client.left.wait(DEADLINE)
        assert client.left_reason.value == 0x8B
    assert endpoint.actions().count("message_publish") == 50
    assert endpoint.requests[-1].json["reason"] == "server_shutdown"


def test_the_counters_of_a_running_broker(start_broker: Start, endpoint: Endpoint) -> None:
    broker = start_broker("sys.interval = 100ms\n" + webhook(endpoint, ALL_THREE, "pool_size = 1,"))
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(broker.conf.parent)}
    command = [sys.executable, "-m", "pybroker", "webhook", "status", "--json"]
    with connected(broker.port, "c") as client:
        client.publish_and_wait("nmq/x", b"1", 1)
        endpoint.wait(2)

        def counters() -> dict[str, int]:
            answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
            (stats,) = json.loads(answer.stdout)
            return stats

        stats = wait_for(lambda: (s := counters())["succeeded"] == 2 and s, "two events to have succeeded")
        assert (stats["matched"], stats["tries"], stats["state"]) == (2, 2, "ready")
        client.subscribe_and_wait("$SYS/brokers/webhook/webhook/succeeded")
        wait_for(lambda: b"2" in [message.payload for message in client.received], "the topic to say two")
    broker.stop()
    log = (broker.conf.parent / "output.txt").read_text()
    assert "matched 3 = succeeded 3 + dead 0" in log


def test_a_second_signal_stops_at_once(start_broker: Start, endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    broker = start_broker("system.drain_timeout = 60s\n" + webhook(endpoint, ALL_THREE, "pool_size = 1,"))
    with connected(broker.port, "c", reconnect_on_failure=False):
        wait_for(lambda: endpoint.requests, "the first event")
        broker.process.send_signal(signal.SIGINT)
        wait_for(lambda: "stopping" in broker.output, "the first signal to be heeded")
        assert broker.process.poll() is None
        assert broker.stop(signal.SIGINT) == 130


@pytest.mark.parametrize("key", ["system.drain_timeout", "webhook.drain_timeout"])
def test_what_is_left_at_the_end_is_reported(start_broker: Start, endpoint: Endpoint, key: str) -> None:
    endpoint.gate.clear()
    extra = f"system.drain_timeout = {2 * DEADLINE:g}s\n{key} = 200ms\n"
    broker = start_broker(webhook(endpoint, ALL_THREE, "pool_size = 1, cancel_timeout = 1h,") + extra)
    with connected(broker.port, "c"):
        wait_for(lambda: endpoint.requests, "the first event")
    assert broker.stop(signal.SIGTERM) == 0
    assert "events not delivered" in (broker.conf.parent / "output.txt").read_text()
