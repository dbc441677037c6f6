"""What faults do to the packets of a connection: the real engine, no sockets, time turned by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from pybroker.broker.faults.channel import WatchedChannel
from pybroker.broker.faults.rules import Faults, Rule, make
from pybroker.broker.faults.seen import SeenPacket
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import Pingreq, Pingresp, Puback, Pubcomp, Publish, Pubrec, Pubrel, Will
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker, connect_packet


class WatchedBroker(Broker):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.faults = Faults()
        self.seen: list[SeenPacket] = []
        self.open_channel = partial(WatchedChannel, self.faults, self.seen.append)

    def fault(self, action: str, **values: Any) -> Rule:
        return self.faults.add(make({"action": action, **values}))

    def told(self) -> list[str]:
        """What was seen: direction and type, and its fate."""
        return [f"{one.direction} {one.type} {one.fate}".strip() for one in self.seen]


@pytest.fixture
def broker() -> WatchedBroker:
    return WatchedBroker()


# ---- seeing


@pytest.mark.parametrize("version", [3, 4, 5])
def test_every_packet_is_seen_in_both_directions(broker: WatchedBroker, version: int) -> None:
    client = broker.connect("dev", version)
    client.subscribe("a/#", qos=2)
    packet_id = client.send_publish("a/b", b"hi", qos=2)
    client.next_of(Pubrec)
    client.send(Pubrel(packet_id))
    client.next_of(Pubcomp)
    client.acknowledge(client.next(Publish))
    client.ping()
    client.disconnect()
    assert sorted(broker.told()) == sorted(
        [
            *("in CONNECT", "out CONNACK", "in SUBSCRIBE", "out SUBACK"),
            *("in PUBLISH", "out PUBREC", "in PUBREL", "out PUBCOMP"),
            *("out PUBLISH", "in PUBREC", "out PUBREL", "in PUBCOMP"),
            *("in PINGREQ", "out PINGRESP", "in DISCONNECT"),
        ]
    )
    assert all(one.client == "dev" for one in broker.seen)


def test_an_acknowledgement_is_about_its_messages_topic(broker: WatchedBroker) -> None:
    client = broker.connect("dev")
    client.subscribe("in/#", qos=2)
    client.send_publish("in/1", qos=1)
    client.acknowledge(client.next_of(Publish))
    client.packets()
    client.publish("out/2", qos=2)
    about = {(one.direction, one.type): one.topic for one in broker.seen if one.type.startswith("PUB")}
    assert about == {
        ("in", "PUBLISH"): "out/2",
        ("out", "PUBLISH"): "in/1",
        ("in", "PUBACK"): "in/1",
        ("out", "PUBACK"): "in/1",
        ("out", "PUBREC"): "out/2",
        ("in", "PUBREL"): "out/2",
        ("out", "PUBCOMP"): "out/2",
    }


def test_a_topic_alias_is_resolved_and_properties_are_kept(broker: WatchedBroker) -> None:
    client = broker.connect("dev")
    client.send_publish("a/b", topic_alias=1, content_type="text/plain")
    client.send_publish("", topic_alias=1)
    first, second = (one for one in broker.seen if one.type == "PUBLISH")
    assert first.topic == second.topic == "a/b"
    assert first.properties.content_type == "text/plain"


def test_an_assigned_identifier_is_known_from_connack_on(broker: WatchedBroker) -> None:
    client = broker.dial()
    client.send_connect("")
    assert [one.client != "" for one in broker.seen] == [False, True]
    client.ping()
    assert broker.seen[-1].client.startswith("pybroker-")


def test_bytes_that_are_no_packet_are_seen_and_refused(broker: WatchedBroker) -> None:
    client = broker.connect("dev")
    client.send_bytes(b"\x30\xff\xff\xff\xff\xff")
    assert broker.seen[2].type == "MALFORMED"
    client.closed(ReasonCode.MALFORMED_PACKET)


def test_a_packet_that_promises_too_much_is_refused_at_its_header() -> None:
    broker = WatchedBroker(max_packet_size=100)
    client = broker.connect("dev")
    client.send_bytes(b"\x30\x80\x80\x80\x01" + b"x" * 10)
    client.closed(ReasonCode.PACKET_TOO_LARGE)


def test_packets_in_pieces(broker: WatchedBroker) -> None:
    client = broker.dial()
    data = encode(connect_packet("dev"), 5) + encode(make_publish("a", b"x" * 300, version=5), 5)
    for index in range(len(data)):
        client.send_bytes(data[index : index + 1])
    assert broker.told() == ["in CONNECT", "out CONNACK", "in PUBLISH"]


def test_lines_for_people(broker: WatchedBroker) -> None:
    broker.fault("drop", packet="PUBACK")
    client = broker.dial(4)
    client.connect("dev", username="ann", keepalive=30, will=Will("gone", b"x"))
    client.subscribe("a/#", qos=1)
    client.send_publish("a/b", b'{"t": 3}', qos=1)
    client.send_publish("a/c", bytes(range(100)))
    lines = [str(one).split(" ", 1)[1] for one in broker.seen if one.direction == "in" or one.fate]
    assert lines == [
        "dev -> CONNECT MQTT 3.1.1 user ann keepalive 30 s, clean start will to gone",
        "dev -> SUBSCRIBE a/# qos 1",
        'dev -> PUBLISH a/b qos 1 id 2: {"t": 3}',
        "dev <- PUBACK id 2 (a/b)  [dropped]",
        "dev -> PUBLISH a/c qos 0: "
        + bytes(range(60)).decode().encode("unicode_escape").decode()
        + "... (100 bytes)",
    ]


# ---- faults of packets


@pytest.mark.parametrize(
    ("version", "code", "given"),
    [
        (5, "banned", ReasonCode.BANNED),
        (4, "banned", ReasonCode.NOT_AUTHORIZED),
        (3, 0x88, ReasonCode.SERVER_UNAVAILABLE),
    ],
)
def test_refuse(broker: WatchedBroker, version: int, code: Any, given: ReasonCode) -> None:
    broker.fault("refuse", code=code, times=1)
    client = broker.dial(version)
    assert client.connect("dev").reason == given
    assert client.is_closed
    assert "dev" not in broker.engine.sessions
    assert not broker.engine.channels
    assert broker.told()[0].startswith("in CONNECT refused: ")
    broker.connect("dev", version)  # the second time it may


def test_drop_what_comes_and_what_goes(broker: WatchedBroker) -> None:
    rule = broker.fault("drop", packet="PUBLISH", direction="in", times=1)
    client = broker.connect("dev")
    client.subscribe("a")
    client.send_publish("a", b"lost")
    client.nothing()
    client.send_publish("a", b"there")
    assert client.payloads() == [b"there"]
    assert rule.fired == 1
    broker.fault("drop", packet="PINGRESP")
    client.send(Pingreq())
    client.nothing()


@pytest.mark.parametrize(
    ("packet", "answer"), [("PUBACK", Puback), ("PUBREC", Pubrec), ("PUBCOMP", Pubcomp), ("PUBREL", Pubrel)]
)
def test_drop_delay_and_repeat_each_acknowledgement(broker: WatchedBroker, packet: str, answer: type) -> None:
    qos = 1 if packet == "PUBACK" else 2
    for action, amount, expected in (
        ("drop", {}, (0, 0)),
        ("delay", {"seconds": 2}, (0, 1)),
        ("repeat", {"count": 2}, (3, 3)),
    ):
        rule = broker.fault(action, packet=packet, direction="out", **amount)
        client = broker.connect("dev")
        if packet == "PUBREL":
            client.subscribe("a", qos=2)
            broker.connect("other").publish("a", qos=2)
            client.send(Pubrec(client.next(Publish).packet_id))
        else:
            packet_id = client.send_publish("a", qos=qos)
            if packet == "PUBCOMP":
                client.next(Pubrec)
                client.send(Pubrel(packet_id))
        at_once = sum(isinstance(one, answer) for one in client.packets())
        broker.clock.advance(3)
        later = at_once + sum(isinstance(one, answer) for one in client.packets())
        assert (at_once, later) == expected, action
        broker.faults.remove(rule.number)
        client.drop()


def test_a_delayed_packet_is_overtaken(broker: WatchedBroker) -> None:
    broker.fault("delay", packet="PUBLISH", topic="a", direction="in", seconds=1)
    client = broker.connect("dev")
    client.subscribe("#")
    client.send_publish("a")
    client.send_publish("b")
    assert client.message().topic == "b"
    broker.clock.advance(1)
    assert client.message().topic == "a"


def test_a_repeated_publish_says_that_it_is_one(broker: WatchedBroker) -> None:
    broker.fault("repeat", packet="PUBLISH", direction="out")
    client = broker.connect("dev")
    client.subscribe("a", qos=1)
    broker.connect("other").publish("a", qos=1)
    assert [(one.dup, one.packet_id) for one in client.packets() if isinstance(one, Publish)] == [
        (False, 1),
        (True, 1),
    ]


def test_exactly_once_holds_when_publishers_repeat(broker: WatchedBroker) -> None:
    broker.fault("repeat", packet="PUBLISH", direction="in", count=3)
    subscriber, publisher = broker.connect("s"), broker.connect("p")
    subscriber.subscribe("a", qos=2)
    publisher.send_publish("a", qos=2)
    assert len(subscriber.messages()) == 1


def test_corrupt(broker: WatchedBroker) -> None:
    broker.fault("corrupt", packet="PINGREQ", byte=0, times=1)
    client = broker.connect("dev")
    client.send(Pingreq())
    assert client.is_closed  # 0xC0 became 0x3F, which is no packet
    broker.fault("corrupt", packet="PUBLISH", direction="out", byte=-1)
    client = broker.connect("dev")
    client.subscribe("a")
    client.send_publish("a", b"abc")
    assert client.payloads() == [b"ab\x9c"]


def test_corrupt_hits_the_same_byte_with_the_same_seed() -> None:
    def received(seed: int) -> bytes:
        broker = WatchedBroker()
        client = broker.connect("dev")
        client.subscribe("a")
        broker.fault("corrupt", packet="PUBLISH", direction="out", seed=seed)
        client.send_publish("a", b"x" * 500)
        return bytes(client.link.written)

    assert received(1) == received(1) != received(2)


def test_close_after_the_nth_packet(broker: WatchedBroker) -> None:
    broker.fault("close", packet="PUBLISH", nth=2)
    watcher = broker.connect("watcher")
    watcher.subscribe("#")
    client = broker.connect("dev", will=Will("gone", b"x"))
    client.send_publish("a", b"1")
    assert not client.is_closed
    client.send_publish("a", b"2")
    assert client.is_closed
    # The packet was handled, and the will is due.
    assert [message.topic for message in watcher.messages()][:2] == ["a", "a"]
    broker.faults.clear()


def test_close_and_drop_together_lose_the_acknowledgement(broker: WatchedBroker) -> None:
    broker.fault("drop", packet="PUBACK", times=1)
    broker.fault("close", packet="PUBACK", times=1)
    client = broker.connect("dev", clean_start=False, session_expiry_interval=60)
    client.send_publish("a", qos=1)
    assert client.is_closed
    assert client.packets() == []
    assert broker.told()[-1] == "out PUBACK dropped, connection broken after it"


@pytest.mark.parametrize("bytes_passed", range(12, 32))
def test_cut_in_the_middle_of_what_goes_out(broker: WatchedBroker, bytes_passed: int) -> None:
    client = broker.connect("dev", 4)
    client.subscribe("a")
    before = 4 + 5  # CONNACK and SUBACK
    broker.fault("cut", direction="out", after_bytes=bytes_passed)
    client.send_publish("a", b"0123456789")
    client.send_publish("a", b"0123456789")
    received = bytes(client.link.written)
    assert client.is_closed
    assert received == (encode(make_publish("a", b"0123456789"), 4) * 2)[: bytes_passed - before]
    assert "dev" not in broker.engine.sessions


def test_cut_in_the_middle_of_what_comes_in(broker: WatchedBroker) -> None:
    connect = encode(connect_packet("dev"), 5)
    broker.fault("cut", direction="in", after_bytes=len(connect) + 3)
    client = broker.connect("dev")
    client.send_publish("a", b"never")
    assert client.is_closed
    assert broker.engine.counters.publish_received == 0


def test_cut_only_so_often(broker: WatchedBroker) -> None:
    broker.fault("cut", after_bytes=1, times=1)
    first = broker.dial()
    first.send_connect("dev")
    assert first.is_closed
    broker.connect("dev").ping()


# ---- faults of sessions and of the broker


def test_lose_session(broker: WatchedBroker) -> None:
    client = broker.connect("dev", session_expiry_interval=600, will=Will("gone", b"x"))
    client.subscribe("a", qos=1)
    client.drop()
    broker.connect("other").publish("a", qos=1)
    broker.fault("lose_session", client="dev", times=1)
    back = client.again(session_expiry_interval=600)
    assert back.connack is not None
    assert not back.connack.session_present
    assert len(broker.engine.router) == 0
    back.nothing()
    back.drop()
    assert client.again().connack.session_present  # type: ignore[union-attr]


def test_lose_the_session_of_a_client_that_is_connected(broker: WatchedBroker) -> None:
    first = broker.connect("dev", session_expiry_interval=600)
    broker.fault("lose_session")
    second = broker.connect("dev", clean_start=False, session_expiry_interval=600)
    assert first.is_closed
    assert second.connack is not None
    assert not second.connack.session_present
    assert broker.engine.connected == 1


def test_restart_is_asked_for_in_place_of_the_packet(broker: WatchedBroker) -> None:
    asked: list[tuple[bool, float]] = []
    broker.faults.restart = lambda keep, seconds: asked.append((keep, seconds))
    broker.fault("restart", packet="PUBLISH", topic="reboot", keep_state=False, seconds=2)
    client = broker.connect("dev")
    client.send_publish("reboot")
    assert asked == [(False, 2)]
    assert broker.engine.counters.publish_received == 0


# ---- faults of connections


def test_latency_keeps_the_order(broker: WatchedBroker) -> None:
    client = broker.connect("dev")
    client.subscribe("a")
    rule = broker.fault("latency", seconds=1, jitter=5, direction="out", seed=3)
    for number in range(20):
        client.send_publish("a", str(number).encode())
    client.nothing()
    broker.clock.advance(0.99)
    client.nothing()
    broker.clock.advance(6)
    assert client.payloads() == [str(number).encode() for number in range(20)]
    client.send_publish("a", b"late")
    broker.faults.remove(rule.number)
    assert client.payloads() == [b"late"]  # lifted: it comes out at once


def test_latency_both_ways_and_then_the_end(broker: WatchedBroker) -> None:
    watcher = broker.connect("watcher")
    watcher.subscribe("gone")
    broker.fault("latency", client="dev", seconds=1)
    client = broker.dial()
    client.send_connect("dev", will=Will("gone", b"x"))
    broker.clock.advance(1)
    assert not client.pending()  # CONNACK is on its way back
    broker.clock.advance(1)
    assert client.pending()
    client.drop()
    watcher.nothing()
    broker.clock.advance(1)
    assert watcher.message().topic == "gone"


def test_a_limit_lets_so_many_bytes_pass_in_a_second(broker: WatchedBroker) -> None:
    client = broker.connect("dev", 4)
    client.subscribe("a")
    client.packets()
    broker.fault("limit", rate=1000, direction="out")
    for _ in range(10):
        client.send_publish("a", b"x" * 500)
    for second in range(1, 5):
        broker.clock.advance(1)
        assert len(client.link.written) == pytest.approx(1000 * second, abs=60)
    broker.clock.advance(2)
    assert len(client.messages()) == 10


def test_a_client_behind_a_limit_counts_as_slow(broker: WatchedBroker) -> None:
    client = broker.connect("dev")
    client.subscribe("a", qos=1)
    rule = broker.fault("limit", rate=1, client="dev", direction="out")
    other = broker.connect("other")
    for _ in range(10):
        other.publish("a", b"x" * 20_000, qos=1)
    session = broker.engine.sessions.get("dev")
    assert session is not None
    assert session.outbox is None
    assert session.queue is not None
    broker.faults.remove(rule.number)
    assert session.outbox is not None
    assert len(client.messages()) == 10


def test_stalled_reading_stops_until_it_is_lifted(broker: WatchedBroker) -> None:
    client = broker.connect("dev")
    rule = broker.fault("stall", client="dev")
    assert not client.link.reading
    client.send(Pingreq())  # was read before the network noticed
    client.nothing()
    broker.faults.remove(rule.number)
    assert client.link.reading
    client.next(Pingresp)


def test_a_stalled_client_times_out(broker: WatchedBroker) -> None:
    client = broker.connect("dev", keepalive=10)
    broker.fault("stall")
    for _ in range(3):
        client.send(Pingreq())
        broker.clock.advance(6)
    client.closed(ReasonCode.KEEP_ALIVE_TIMEOUT)


def test_stalled_writing(broker: WatchedBroker) -> None:
    client = broker.connect("dev")
    rule = broker.fault("stall", direction="out")
    client.send(Pingreq())
    client.nothing()
    broker.faults.remove(rule.number)
    client.next(Pingresp)


def test_without_faults_nothing_differs(broker: WatchedBroker) -> None:
    """The same bytes leave a watched broker and a plain one."""

    def session(broker: Broker) -> bytes:
        client = broker.connect("dev", session_expiry_interval=60)
        client.subscribe("a/+", qos=2, identifier=4)
        for qos in range(3):
            client.send_publish("a/b", b"x" * 200, qos=qos, retain=True, content_type="t")
        client.disconnect(session_expiry_interval=30)
        return bytes(client.link.written)

    assert session(broker) == session(Broker()) != b""
