"""What the log tells of clients at info."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from pybroker.broker.config.settings import Limits
from pybroker.broker.engine.access import Action
from pybroker.broker.events import Client
from pybroker.broker.packets.model import Pingreq, Subscribe, SubscribeFilter
from tests.harness import Broker

Lines = Callable[[], list[str]]
PEER = "192.0.2.1:50000 (listener tcp)"


@pytest.fixture
def broker(caplog: pytest.LogCaptureFixture) -> Broker:
    caplog.set_level(logging.INFO, "pybroker.clients")
    return Broker(limits=Limits(connect_timeout=10))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What was told so far."""
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("version", "name"), [(3, "3.1"), (4, "3.1.1"), (5, "5.0")])
def test_a_client_comes_and_goes(broker: Broker, lines: Lines, version: int, name: str) -> None:
    client = broker.connect("c", version, keepalive=30, username="ann", password=b"secret")
    client.disconnect()
    assert lines() == [
        f"client c connected from {PEER}: MQTT {name}, user ann, clean start, keepalive 30 s",
        "client c disconnected: normal",
    ]


def test_a_session_is_new_or_resumed(broker: Broker, lines: Lines) -> None:
    client = broker.connect("c", clean_start=False, session_expiry_interval=60)
    client.drop()
    client.again()
    assert lines() == [
        f"client c connected from {PEER}: MQTT 5.0, new session, keepalive 0 s",
        "client c disconnected: tcp_closed",
        f"client c connected from {PEER}: MQTT 5.0, session resumed, keepalive 0 s",
    ]


def test_somebody_else_takes_the_name(broker: Broker, lines: Lines) -> None:
    broker.connect("c", 4)
    broker.connect("c", 4)
    came = f"client c connected from {PEER}: MQTT 3.1.1, clean start, keepalive 0 s"
    assert lines() == [came, "client c disconnected: takenover", came]


def test_a_client_falls_silent(broker: Broker, lines: Lines) -> None:
    broker.connect("c", 4, keepalive=10)
    broker.clock.advance(60)
    assert lines() == [
        f"client c connected from {PEER}: MQTT 3.1.1, clean start, keepalive 10 s",
        "client c disconnected: keepalive_timeout",
    ]


def test_a_client_that_is_refused(broker: Broker, lines: Lines) -> None:
    broker.dial(3).send_connect("x" * 24, username="ann")
    assert lines() == [
        f"client {'x' * 24}, user ann, from {PEER} is refused: MQTT 3.1 needs a client identifier of 1 to 23"
        " characters (client_identifier_not_valid)"
    ]


def test_a_protocol_error(broker: Broker, lines: Lines) -> None:
    client = broker.connect("c", 5)
    client.send_bytes(b"\x36\x03\x00\x01a")
    assert lines() == [
        f"client c connected from {PEER}: MQTT 5.0, clean start, keepalive 0 s",
        f"client c from {PEER} broke the protocol: PUBLISH has QoS 3, or DUP at QoS 0: 0x36 "
        "(malformed_packet)",
        "client c disconnected: malformed_packet",
    ]


def test_a_stranger_that_breaks_the_protocol(broker: Broker, lines: Lines) -> None:
    broker.dial(4).send(Pingreq())
    assert lines() == [
        f"a connection from {PEER} broke the protocol: the first packet was PINGREQ, not CONNECT "
        "(protocol_error)"
    ]


def test_a_stranger_that_says_nothing(broker: Broker, lines: Lines) -> None:
    broker.dial(4)
    broker.clock.advance(11)
    assert lines() == [f"a connection from {PEER} sent no CONNECT within 10 s"]


def test_subscriptions_that_are_refused_are_one_line(broker: Broker, lines: Lines) -> None:
    def deny(client: Client, topic: str, action: Action) -> bool:
        return topic == "mine"

    broker.engine.access.authorizers = (deny,)
    client = broker.connect("c", 4)
    client.send(Subscribe(1, [SubscribeFilter(name, 0) for name in ("mine", "yours", "his")]))
    assert lines() == [
        f"client c connected from {PEER}: MQTT 3.1.1, clean start, keepalive 0 s",
        "client c may not subscribe to yours: not_authorized and 1 more",
    ]
