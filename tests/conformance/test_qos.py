"""QoS 1 and 2 in every one of their states, over reconnects, in both directions (sections 4.3 to 4.6)."""

from __future__ import annotations

from typing import Any

import pytest

from pybroker.broker.config.settings import Limits
from pybroker.broker.packets.model import Packet, Puback, Pubcomp, Publish, Pubrec, Pubrel
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.session.queue import OVERHEAD
from tests.harness import FOR_EVER, Broker, Client

from .versions import every_version, oasis

mqtt = pytest.mark.mqtt
R = ReasonCode


def kept(version: int) -> dict[str, Any]:
    options: dict[str, Any] = {"clean_start": False}
    if version == 5:
        options["session_expiry_interval"] = FOR_EVER
    return options


def resume(client: Client) -> Client:
    """Lose the connection and come back."""
    if not client.is_closed:
        client.drop()
    return client.again(**kept(client.version))


@pytest.fixture
def publisher(broker: Broker) -> Client:
    return broker.connect("publisher")


@pytest.fixture
def watcher(broker: Broker) -> Client:
    watcher = broker.connect("watcher")
    watcher.subscribe("t", qos=2)
    return watcher


# The broker as sender


@mqtt("3.1.1:MQTT-4.3.2-1", "3.1.1:MQTT-4.4.0-1", "3.1.1:MQTT-3.3.1-1", "3.1.1:MQTT-2.3.1-3")
@mqtt("5.0:MQTT-4.3.2-2", "5.0:MQTT-4.3.2-3", "5.0:MQTT-4.4.0-1", "5.0:MQTT-3.3.1-1")
@every_version
def test_qos_1_until_puback(broker: Broker, publisher: Client, version: int) -> None:
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=1)
    publisher.publish("t", b"hi", qos=1)
    first = client.message(acknowledge=False)
    assert not first.dup
    for _ in range(3):
        client = resume(client)
        again = client.message(acknowledge=False)
        assert (again.packet_id, again.payload, again.dup) == (first.packet_id, b"hi", True)
        client.nothing()
    client.send(Puback(first.packet_id))
    resume(client).nothing()


@mqtt("3.1.1:MQTT-4.3.3-1", "3.1.1:MQTT-4.4.0-1", "5.0:MQTT-4.3.3-2", "5.0:MQTT-4.3.3-3", "5.0:MQTT-4.3.3-4")
@mqtt("5.0:MQTT-4.3.3-5", "5.0:MQTT-4.3.3-6", "5.0:MQTT-4.4.0-1", "5.0:MQTT-3.6.2-1")
@every_version
def test_qos_2_in_each_of_its_states(broker: Broker, publisher: Client, version: int) -> None:
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=2)
    publisher.publish("t", b"hi", qos=2)
    first = client.message(acknowledge=False)
    assert (first.qos, first.dup) == (2, False)
    packet_id = first.packet_id

    client = resume(client)  # PUBLISH sent, no PUBREC
    again = client.message(acknowledge=False)
    assert (again.packet_id, again.dup, again.payload) == (packet_id, True, b"hi")
    client.send(Pubrec(packet_id))
    assert client.packets() == [Pubrel(packet_id)]

    for _ in range(3):  # PUBREL sent, no PUBCOMP
        client = resume(client)
        assert client.packets() == [Pubrel(packet_id)]
    client.send(Pubrec(packet_id))  # the client says it again
    assert client.packets() == [Pubrel(packet_id)]
    client.send(Pubcomp(packet_id))
    resume(client).nothing()


@mqtt("3.1.1:MQTT-4.4.0-1", "5.0:MQTT-4.4.0-1")
@every_version
@pytest.mark.parametrize("qos", [1, 2])
def test_answers_lost_on_the_way_back(broker: Broker, publisher: Client, version: int, qos: int) -> None:
    """PUBACK and PUBREC may come on the next connection, before or after the repeat is read."""
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=2)
    publisher.publish("t", qos=qos)
    packet_id = client.message(acknowledge=False).packet_id
    client = resume(client)
    client.send(Puback(packet_id) if qos == 1 else Pubrec(packet_id))
    expected: list[type] = [Publish] if qos == 1 else [Publish, Pubrel]
    assert [type(p) for p in client.packets()] == expected
    if qos == 2:
        client.send(Pubcomp(packet_id))
    resume(client).nothing()


@mqtt("5.0:MQTT-4.4.0-1")
def test_nothing_is_sent_again_on_a_connection_that_stands(broker: Broker, publisher: Client) -> None:
    client = broker.connect("c")
    client.subscribe("t", qos=2)
    publisher.publish("t", qos=1)
    publisher.publish("t", qos=2)
    for _ in range(2):
        client.message(acknowledge=False)
    broker.clock.advance(10_000)
    client.nothing()


@pytest.mark.parametrize("version", [3, 4])
def test_retry_interval_of_3_x(publisher: Client, version: int) -> None:
    broker = Broker(retry_interval=10.0)
    client = broker.connect("c", version)
    client.subscribe("t", qos=2)
    publisher = broker.connect("p")
    publisher.publish("t", b"1", qos=1)
    broker.clock.advance(5)
    publisher.publish("t", b"2", qos=2)
    one, two = (client.message(acknowledge=False) for _ in range(2))
    client.send(Pubrec(two.packet_id))
    client.next(Pubrel)
    broker.clock.advance(5)
    again = client.message(acknowledge=False)
    assert (again.packet_id, again.dup) == (one.packet_id, True)
    client.nothing()
    broker.clock.advance(10)
    assert {type(p) for p in client.packets()} == {Publish, Pubrel}
    client.send(Puback(one.packet_id), Pubcomp(two.packet_id))
    broker.clock.advance(100)
    client.nothing()
    assert Broker(retry_interval=0.0).connect("c", version)


@mqtt("5.0:MQTT-4.4.0-2", "5.0:MQTT-4.3.3-4")
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("reason", [R.UNSPECIFIED_ERROR, R.QUOTA_EXCEEDED])
def test_a_refusal_acknowledges(broker: Broker, publisher: Client, qos: int, reason: ReasonCode) -> None:
    client = broker.connect("c", **kept(5))
    client.subscribe("t", qos=2)
    publisher.publish("t", qos=qos)
    packet_id = client.message(acknowledge=False).packet_id
    refusal = Puback if qos == 1 else Pubrec
    client.send(refusal(packet_id, reason))
    client.nothing()
    resume(client).nothing()


@every_version
@pytest.mark.parametrize(
    ("packet", "answer"),
    [(Puback(9), None), (Pubcomp(9), None), (Pubrec(9), Pubrel), (Pubrel(9), Pubcomp)],
)
def test_unknown_identifiers(
    broker: Broker, version: int, packet: Packet, answer: type[Pubrel | Pubcomp] | None
) -> None:
    client = broker.connect("c", version)
    client.send(packet)
    reason = R.PACKET_IDENTIFIER_NOT_FOUND if version == 5 else R.SUCCESS
    assert client.packets() == ([] if answer is None else [answer(9, reason)])
    client.ping()


@mqtt("3.1.1:MQTT-4.8.0-1", "5.0:MQTT-4.13.1-1")
@every_version
@pytest.mark.parametrize(
    ("qos", "answer"),
    [(1, Pubrec), (1, Pubcomp), (2, Puback), (2, Pubcomp)],
)
def test_an_acknowledgement_of_the_wrong_kind_is_a_protocol_error(
    broker: Broker, publisher: Client, version: int, qos: int, answer: type[Puback | Pubrec | Pubcomp]
) -> None:
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=2)
    publisher.publish("t", b"1", qos=qos)
    client.send(answer(client.message(acknowledge=False).packet_id))
    client.closed(R.PROTOCOL_ERROR)
    client = resume(client)
    assert client.payloads() == [b"1"]


@every_version
@pytest.mark.parametrize("answer", [Puback, Pubrec, Pubcomp])
def test_one_of_many_acknowledgements_is_of_the_wrong_kind(
    broker: Broker, publisher: Client, version: int, answer: type[Puback | Pubrec | Pubcomp]
) -> None:
    """Acknowledgements that come together are handled together."""
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=2)
    for qos in (1, 1, 2):
        publisher.publish("t", bytes((48 + qos,)), qos=qos)
    ids = [client.message(acknowledge=False).packet_id for _ in range(3)]
    client.send(*(answer(packet_id) for packet_id in ids))
    client.closed(R.PROTOCOL_ERROR)
    kept_back = [b"2"] if answer is Puback else [b"1", b"1", b"2"]
    assert resume(client).payloads() == kept_back


@every_version
def test_puback_of_a_released_message_is_a_protocol_error(
    broker: Broker, publisher: Client, version: int
) -> None:
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=2)
    publisher.publish("t", b"1", qos=2)
    packet_id = client.message(acknowledge=False).packet_id
    client.send(Pubrec(packet_id))
    assert client.next(Pubrel).packet_id == packet_id
    client.send(Pubrec(packet_id))  # again: it is answered again
    assert client.next(Pubrel).packet_id == packet_id
    client.send(Puback(packet_id))
    client.closed(R.PROTOCOL_ERROR)


# The broker as receiver


@mqtt("3.1.1:MQTT-4.3.2-2", "5.0:MQTT-4.3.2-5", "5.0:MQTT-4.3.2-4")
@every_version
@pytest.mark.parametrize("dup", [False, True])
def test_after_puback_the_identifier_is_a_new_messages(
    broker: Broker, watcher: Client, version: int, dup: bool
) -> None:
    client = broker.connect("c", version)
    client.publish("t", b"1", qos=1, packet_id=5)
    client.publish("t", b"2", qos=1, packet_id=5, dup=dup)
    assert watcher.payloads() == [b"1", b"2"]


@mqtt("3.1.1:MQTT-4.3.3-2", "5.0:MQTT-4.3.3-10", "5.0:MQTT-4.3.3-11", "5.0:MQTT-4.3.3-12", "5.0:MQTT-4.3.3-8")
@every_version
@pytest.mark.parametrize("dup", [False, True])
def test_qos_2_is_handed_out_once(broker: Broker, watcher: Client, version: int, dup: bool) -> None:
    client = broker.connect("c", version, **kept(version))
    client.send_publish("t", b"1", qos=2, packet_id=5)
    assert client.packets() == [Pubrec(5)]
    client.send_publish("t", b"1", qos=2, packet_id=5, dup=dup)
    assert client.packets() == [Pubrec(5)]
    client = resume(client)
    client.send_publish("t", b"1", qos=2, packet_id=5, dup=True)
    assert client.packets() == [Pubrec(5)]
    assert watcher.payloads() == [b"1"]
    client = resume(client)
    client.send(Pubrel(5))
    assert client.packets() == [Pubcomp(5)]
    client = resume(client)
    client.send(Pubrel(5))  # PUBCOMP was lost
    [completed] = client.packets()
    assert isinstance(completed, Pubcomp)
    assert watcher.payloads() == []
    client.publish("t", b"2", qos=2, packet_id=5)
    assert watcher.payloads() == [b"2"]


@every_version
def test_qos_1_and_2_have_identifiers_of_their_own_direction(broker: Broker, version: int) -> None:
    client = broker.connect("c", version)
    client.subscribe("t", qos=2)
    client.send_publish("t", qos=2, packet_id=1)
    message = client.next_of(Publish)
    assert message.packet_id == 1
    client.next(Pubrec)
    client.send(Pubrec(1), Pubrel(1))
    assert client.packets() == [Pubrel(1), Pubcomp(1)]
    client.send(Pubcomp(1))
    client.nothing()


# Order


@mqtt("3.1.1:MQTT-4.6.0-5", "3.1.1:MQTT-4.6.0-6", "5.0:MQTT-4.6.0-5", "5.0:MQTT-4.6.0-6")
@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_order(broker: Broker, publisher: Client, version: int, qos: int) -> None:
    client = broker.connect("c", version)
    client.subscribe("t", qos=2)
    for number in range(100):
        publisher.send_publish("t", b"%d" % number, qos=qos)
    assert client.payloads() == [b"%d" % n for n in range(100)]


@mqtt("3.1.1:MQTT-4.6.0-1", "3.1.1:MQTT-4.6.0-6", "5.0:MQTT-4.6.0-5")
@every_version
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("window", [1, 3, 1000])
def test_order_with_a_window_and_reconnects(version: int, qos: int, window: int) -> None:
    broker = Broker(max_inflight_window=window)
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=2)
    publisher = broker.connect("p")
    for number in range(20):
        publisher.send_publish("t", b"%02d" % number, qos=qos)
    expected = [b"%02d" % n for n in range(20)]
    seen: list[bytes] = []
    for turn in range(40):
        client = resume(client)
        publishes = [p for p in client.packets() if isinstance(p, Publish)]
        payloads = [p.payload for p in publishes]
        assert payloads == sorted(payloads)
        assert len(publishes) <= window
        seen += [p for p in payloads if p not in seen]
        for message in publishes[: turn % 3]:
            client.send(Puback(message.packet_id) if qos == 1 else Pubrec(message.packet_id))
        for packet in client.packets():
            if isinstance(packet, Pubrel):
                client.send(Pubcomp(packet.packet_id))
    assert seen == expected[: len(seen)]
    assert len(seen) == 20


@mqtt("3.1.1:MQTT-4.6.0-2", "3.1.1:MQTT-4.6.0-3", "3.1.1:MQTT-4.6.0-4")
@every_version
def test_acknowledgements_keep_the_order(broker: Broker, version: int) -> None:
    client = broker.connect("c", version)
    for qos in (1, 2):
        for packet_id in (7, 3, 9, 1):
            client.send_publish("t", qos=qos, packet_id=packet_id)
        assert [p.packet_id for p in client.packets()] == [7, 3, 9, 1]  # type: ignore[union-attr]
    client.send(*(Pubrel(packet_id) for packet_id in (9, 7, 1, 3)))
    assert client.packets() == [Pubcomp(packet_id) for packet_id in (9, 7, 1, 3)]

    client.subscribe("t", qos=2)
    publisher = broker.connect("p")
    for _ in range(4):
        publisher.publish("t", qos=2)
    ids = [m.packet_id for m in client.packets() if isinstance(m, Publish)]
    ids = [ids[2], ids[0], ids[3], ids[1]]
    client.send(*(Pubrec(packet_id) for packet_id in ids))
    assert client.packets() == [Pubrel(packet_id) for packet_id in ids]


@oasis
def test_a_queue_that_is_full_drops_qos_0_first(version: int) -> None:
    broker = Broker(limits=Limits(max_queued_bytes=4 * (10 + OVERHEAD)))
    client = broker.connect("c", version, **kept(version))
    client.subscribe("t", qos=1)
    client.stop_reading()
    publisher = broker.connect("p")
    for number, qos in enumerate((0, 1, 0, 1, 1, 1, 1, 0)):
        publisher.publish("t", b"%d" % number, qos=qos)
    client.read_on()
    assert sorted(client.payloads()) == [b"1", b"3", b"4", b"5"]
    assert broker.dropped("slow_receiver") == 3
    assert broker.dropped("queue_full") == 1
