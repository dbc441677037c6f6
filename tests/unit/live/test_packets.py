"""The last packets of a client that somebody looks at."""

from __future__ import annotations

import pytest

from pybroker.broker.live.packets import (
    FORGOTTEN_AFTER,
    KEPT,
    MAX_CLIENTS,
    PAUSE,
    SHOWN,
    LastPackets,
    Seen,
    TooManyError,
)
from pybroker.broker.packets.encoder import make_publish
from tests.harness import Broker


def seen(packets: LastPackets, client: str) -> list[tuple[str, str, str]]:
    return [(one.direction, one.type, one.says) for one in packets.look(client)]


def test_what_comes_and_goes_after_the_first_look() -> None:
    broker = Broker()
    packets = LastPackets(broker.engine)
    lamp = broker.connect("lamp")
    lamp.publish("before", qos=1)
    assert packets.look("lamp") == []
    lamp.subscribe("room/#", 1)
    lamp.publish("room/light", b"on", qos=1)
    lamp.disconnect()
    assert seen(packets, "lamp") == [
        ("in", "SUBSCRIBE", "room/# qos 1"),
        ("out", "SUBACK", "qos 1"),
        ("in", "PUBLISH", "room/light qos 1 id 3: on"),
        ("out", "PUBLISH", "room/light qos 1 id 1: on"),
        ("out", "PUBACK", "id 3"),
        ("in", "DISCONNECT", ""),
        ("", "CLOSED", "normal"),
    ]


def test_the_next_connection_is_seen_from_connect_on_and_nobody_elses() -> None:
    broker = Broker()
    packets = LastPackets(broker.engine)
    packets.look("lamp")
    other = broker.connect("other")
    assert other.channel.taps == ()
    broker.connect("lamp", username="ann", session_expiry_interval=9)
    connect, connack = packets.look("lamp")
    assert connect.says.startswith("MQTT 5.0 user ann")
    assert connect.properties == '{"session_expiry_interval": 9}'
    assert (connack.type, connack.says) == ("CONNACK", "success")
    other.publish("a")
    assert len(packets.look("lamp")) == 2


def test_only_what_is_new() -> None:
    broker = Broker()
    packets = LastPackets(broker.engine)
    packets.look("lamp")
    lamp = broker.connect("lamp")
    last = packets.look("lamp")[-1].number
    lamp.ping()
    assert [one.type for one in packets.look("lamp", last)] == ["PINGREQ", "PINGRESP"]


def test_it_is_bounded() -> None:
    broker = Broker()
    packets = LastPackets(broker.engine)
    lamp = broker.connect("lamp")
    packets.look("lamp")
    lamp.subscribe("a")
    lamp.send(*[make_publish("a", b"x" * 1000, version=5)] * (3 * KEPT))
    found = packets.look("lamp")
    assert len(found) == KEPT
    assert found[0].number > 3, "there is a gap"
    lamp.publish("a", b"y")
    assert packets.look("lamp")[-1].number == found[-1].number, "the connection is left alone"
    assert lamp.channel.taps == ()
    broker.clock.advance(PAUSE)
    packets.look("lamp")
    lamp.publish("a", b"z")
    after = packets.look("lamp", found[-1].number)
    assert [one.says for one in after] == ["a qos 0: z"] * 2
    assert after[0].number > found[-1].number + 1, "there is a gap"
    lamp.publish("t" * 60_000, b"x" * 60_000, user_properties=(("k", "v" * 60_000),))
    last = packets.look("lamp")[-1]
    assert len(last.says) == len(last.properties) == SHOWN + 3
    for number in range(MAX_CLIENTS - 1):
        packets.look(f"{number}")
    with pytest.raises(TooManyError):
        packets.look("one more")
    assert packets.look("lamp"), "who is looked at stays so"


def test_a_secret_is_masked() -> None:
    broker = Broker()
    packets = LastPackets(broker.engine)
    packets.look("lamp")
    client = broker.dial()
    client.send_connect(
        "lamp", password=b"secret-p", authentication_method="m", authentication_data=b"secret-a"
    )
    connect = packets.look("lamp")[0]
    assert connect.properties == '{"authentication_method": "m", "authentication_data": "******"}'
    assert "secret" not in repr(connect)


def test_nothing_is_watched_soon_after_the_last_look() -> None:
    broker = Broker()
    packets = LastPackets(broker.engine)
    lamp = broker.connect("lamp")
    packets.look("lamp")
    broker.clock.advance(FORGOTTEN_AFTER - 1)
    packets.look("lamp")
    broker.clock.advance(FORGOTTEN_AFTER - 1)
    assert broker.engine.taps
    broker.clock.advance(1)
    assert broker.engine.taps == lamp.channel.taps == ()
    assert lamp.channel.outbox.write == lamp.link.write
    assert broker.engine.hooks.client_connected == broker.engine.hooks.client_disconnected == ()
    lamp.ping()
    assert packets.look("lamp") == []


def test_what_comes_steadily_below_the_limit_is_complete() -> None:
    broker = Broker()
    packets = LastPackets(broker.engine)
    lamp = broker.connect("lamp")
    packets.look("lamp")
    found: list[Seen] = []
    for number in range(500):
        lamp.publish("a", str(number).encode())
        broker.clock.advance(0.005)
        if number % 50 == 49:
            found += packets.look("lamp", found[-1].number if found else 0)
    assert [one.says for one in found] == [f"a qos 0: {number}" for number in range(500)]
    assert [one.number for one in found] == list(range(1, 501))


def test_a_pause_ends_with_the_looking() -> None:
    broker = Broker()
    packets = LastPackets(broker.engine)
    lamp = broker.connect("lamp")
    packets.look("lamp")
    lamp.send(*[make_publish("a", b"x", version=5)] * KEPT)
    broker.clock.advance(FORGOTTEN_AFTER)
    lamp.send(*[make_publish("a", b"x", version=5)] * KEPT)
    assert lamp.channel.taps == broker.engine.taps == ()
    assert packets.look("lamp") == []
