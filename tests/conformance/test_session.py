"""Sessions: clean start, expiry, takeover (sections 3.1.2.4, 3.1.4, 4.1)."""

from __future__ import annotations

from typing import Any

import pytest

from pybroker.broker.packets.model import Connack, Publish, Will
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import FOR_EVER, Broker, Client, connect_packet

from .versions import every_version, oasis

mqtt = pytest.mark.mqtt
R = ReasonCode


def kept(version: int, seconds: int = FOR_EVER) -> dict[str, Any]:
    """What CONNECT says so that the session is kept, without a clean start."""
    options: dict[str, Any] = {"clean_start": False}
    if version == 5:
        options["session_expiry_interval"] = seconds
    return options


@mqtt("3.1.1:MQTT-3.1.2-4", "5.0:MQTT-3.1.2-5", "5.0:MQTT-3.1.2-6", "5.0:MQTT-3.1.2-23", "3.1.1:MQTT-4.1.0-1")
@mqtt("3.1.1:MQTT-3.1.2-5", "3.1.1:MQTT-4.5.0-1", "5.0:MQTT-4.5.0-1")
@every_version
def test_a_session_that_is_kept(broker: Broker, version: int) -> None:
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=2)
    client.drop()
    publisher = broker.connect("p", version)
    for qos in (0, 1, 2):
        publisher.publish("t", b"qos %d" % qos, qos=qos)
    broker.clock.advance(1e6)
    back = client.again()
    assert back.payloads() == [b"qos 1", b"qos 2"]
    publisher.publish("t", b"live")
    assert back.payloads() == [b"live"]


@mqtt("3.1.1:MQTT-3.2.2-1", "3.1.1:MQTT-3.2.2-2", "3.1.1:MQTT-3.2.2-3")
@mqtt("5.0:MQTT-3.2.2-2", "5.0:MQTT-3.2.2-3", "5.0:MQTT-3.1.4-4", "3.1.1:MQTT-3.1.4-3")
@oasis
def test_session_present(broker: Broker, version: int) -> None:
    def connect(**options: Any) -> bool:
        client = broker.dial(version)
        present = client.connect("c", **options).session_present
        client.disconnect()
        return present

    assert connect(**kept(version)) is False
    assert connect(**kept(version)) is True
    assert connect(**kept(version) | {"clean_start": True}) is False
    assert connect(**kept(version)) is (version == 5)  # a clean session of 3.1.1 leaves nothing
    assert connect(**kept(version)) is True


def test_3_1_has_no_session_present_flag(broker: Broker) -> None:
    broker.connect("c", 3, clean_start=False).drop()
    client = broker.dial(3)
    client.send(connect_packet("c", 3, clean_start=False))
    assert bytes(client.link.written) == b"\x20\x02\x00\x00"


@mqtt("3.1.1:MQTT-3.1.2-6", "5.0:MQTT-3.1.2-4", "3.1.1:MQTT-3.1.4-3", "5.0:MQTT-3.1.4-4")
@every_version
def test_clean_start_discards_everything(broker: Broker, version: int) -> None:
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=1)
    publisher = broker.connect("p")
    publisher.publish("t", b"in flight", qos=1)
    assert client.message(acknowledge=False).payload == b"in flight"
    client.send_publish("x", qos=2, packet_id=9)
    client.drop()
    publisher.publish("t", b"waiting", qos=1)
    back = client.again(clean_start=True)
    back.nothing()
    publisher.publish("t", b"after", qos=1)
    back.nothing()
    watcher = broker.connect("w")
    watcher.subscribe("x")
    back.publish("x", b"new", qos=2, packet_id=9)  # no repeat of the one before
    assert watcher.payloads() == [b"new"]


@mqtt("3.1.1:MQTT-3.1.2-6")
@pytest.mark.parametrize("version", [3, 4])
def test_a_clean_session_ends_with_its_connection(broker: Broker, version: int) -> None:
    client = broker.connect("c", version)
    client.subscribe("t", qos=1)
    client.drop()
    assert "c" not in broker.engine.sessions
    broker.connect("p").publish("t", qos=1)
    client.again().nothing()


@mqtt("3.1.1:MQTT-3.1.2-7")
@every_version
def test_retained_messages_outlive_the_session(broker: Broker, version: int) -> None:
    client = broker.connect("c", version)
    client.publish("t", b"stays", qos=1, retain=True)
    client.disconnect()
    assert "c" not in broker.engine.sessions
    assert broker.retained() == {"t": b"stays"}


@mqtt("5.0:MQTT-3.1.2-23", "5.0:MQTT-4.1.0-2")
@pytest.mark.parametrize("how", ["drop", "disconnect"])
def test_session_expiry(broker: Broker, how: str) -> None:
    client = broker.connect("c", session_expiry_interval=10)
    getattr(client, how)()
    broker.clock.advance(9.9)
    back = broker.dial()
    assert back.connect("c", clean_start=False, session_expiry_interval=10).session_present
    getattr(back, how)()
    broker.clock.advance(10)
    assert "c" not in broker.engine.sessions
    assert not broker.dial().connect("c", clean_start=False).session_present


@mqtt("5.0:MQTT-4.1.0-2")
def test_session_expiry_zero_and_absent(broker: Broker) -> None:
    broker.connect("a", session_expiry_interval=0).drop()
    broker.connect("b").drop()
    assert len(broker.engine.sessions) == 0


def test_session_expiry_for_ever(broker: Broker) -> None:
    broker.connect("c", session_expiry_interval=FOR_EVER).drop()
    broker.clock.advance(1e6)
    assert "c" in broker.engine.sessions


def test_session_expiry_of_3_1_1_is_the_configurations() -> None:
    broker = Broker(session_expiry=60.0)
    broker.connect("c", 4, clean_start=False).drop()
    broker.clock.advance(61)
    assert "c" not in broker.engine.sessions


@mqtt("5.0:MQTT-4.1.0-1", "3.1.1:MQTT-4.1.0-2")
@every_version
def test_a_session_does_not_expire_while_connected(broker: Broker, version: int) -> None:
    client = broker.connect("c", version, **kept(version, 10))
    client.subscribe("t")
    client.drop()
    broker.clock.advance(9)
    back = client.again(**kept(version, 10))
    broker.clock.advance(1000)
    back.publish("t", b"hi")
    assert back.payloads() == [b"hi"]


def test_disconnect_changes_the_session_expiry(broker: Broker) -> None:
    broker.connect("a", session_expiry_interval=10).disconnect(session_expiry_interval=100)
    broker.connect("b", session_expiry_interval=10).disconnect(session_expiry_interval=0)
    assert "b" not in broker.engine.sessions
    broker.clock.advance(99)
    assert "a" in broker.engine.sessions
    broker.clock.advance(1)
    assert "a" not in broker.engine.sessions


@mqtt("5.0:MQTT-4.13.1-1")
def test_disconnect_may_not_give_a_session_that_connect_did_not_ask_for(broker: Broker) -> None:
    watcher = broker.connect("w")
    watcher.subscribe("will")
    client = broker.connect("c", will=Will("will", b"gone"))
    client.disconnect(session_expiry_interval=10)
    client.closed(R.PROTOCOL_ERROR)
    assert watcher.payloads() == [b"gone"]


def test_a_granted_session_expiry_of_0_is_not_the_clients_fault() -> None:
    broker = Broker(max_session_expiry=0)
    client = broker.connect("c", session_expiry_interval=10)
    client.disconnect(session_expiry_interval=20)
    client.closed()


# Takeover


@pytest.mark.one_node
@mqtt("3.1.1:MQTT-3.1.4-2", "5.0:MQTT-3.1.4-3", "5.0:MQTT-3.1.3-2", "3.1.1:MQTT-3.1.3-2")
@every_version
def test_takeover(broker: Broker, version: int) -> None:
    old = broker.connect("c", version, **kept(version))
    old.subscribe("t", qos=1)
    new = broker.dial(version)
    connack = new.connect("c", **kept(version))
    assert connack.session_present == (version != 3)
    old.closed(R.SESSION_TAKEN_OVER)
    broker.connect("p").publish("t", b"hi", qos=1)
    assert new.payloads() == [b"hi"]
    old.channel.lost()  # what the transport says late changes nothing
    broker.connect("p").publish("t", b"again", qos=1)
    assert new.payloads() == [b"again"]
    assert broker.engine.connected == 2


@every_version
def test_takeover_sends_again_what_is_in_flight(broker: Broker, version: int) -> None:
    old = broker.connect("c", version, **kept(version))
    old.subscribe("t", qos=2)
    publisher = broker.connect("p")
    for qos in (1, 2):
        publisher.publish("t", b"%d" % qos, qos=qos)
    first = [old.message(acknowledge=False) for _ in range(2)]
    new = old.again()
    again = [new.message() for _ in range(2)]
    assert [m.packet_id for m in again] == [m.packet_id for m in first]
    assert all(m.dup for m in again)


@every_version
def test_takeover_by_another_version(broker: Broker, version: int) -> None:
    old = broker.connect("c", version, **kept(version))
    old.subscribe("t", qos=1)
    publisher = broker.connect("p")
    publisher.publish("t", b"before", qos=1, content_type="x", user_properties=(("a", "b"),))
    assert isinstance(old.message(acknowledge=False), Publish)
    for other in (3, 4, 5):
        new = broker.connect("c", other, **kept(other))
        assert new.message(acknowledge=False).payload == b"before"
        publisher.publish("t", b"live")
        assert new.message().payload == b"live"


@mqtt("5.0:MQTT-3.2.0-2")
@every_version
def test_a_hundred_takeovers_in_a_row(broker: Broker, version: int) -> None:
    clients: list[Client] = []
    for _ in range(100):
        clients.append(broker.connect("c", version, clean_start=False))
    assert broker.engine.connected == 1
    assert len(broker.engine.sessions) == 1
    assert [client.is_closed for client in clients] == [True] * 99 + [False]
    assert not any(isinstance(packet, Connack) for client in clients for packet in client.packets())
