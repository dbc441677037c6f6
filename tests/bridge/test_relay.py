"""Both directions of a link, without sockets: bytes in, packets out."""

from __future__ import annotations

from typing import Any

import pytest

from pybroker.broker.bridge.counters import BridgeCounters
from pybroker.broker.bridge.echoes import SECONDS, Echoes
from pybroker.broker.bridge.mapping import Mapping
from pybroker.broker.bridge.path import path_of
from pybroker.broker.bridge.relay import MOST_QOS_2, Relay, RemoteEndedError, RemoteLimits
from pybroker.broker.bridge.settings import Address, BridgeSettings, Forward, RemoteSubscription
from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.errors import ProtocolError
from pybroker.broker.packets.model import (
    Connect,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    singly,
)
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode


class Sides:
    """A relay, and what each side is sent."""

    def __init__(
        self,
        *forwards: Forward,
        subscriptions: tuple[RemoteSubscription, ...] = (),
        limits: RemoteLimits | None = None,
        echoes: Echoes | None = None,
        version: int = 4,
        hop_limit: int = 8,
        max_topic_levels: int = 100,
    ) -> None:
        settings = BridgeSettings(
            "up",
            True,
            (Address("mqtt-tcp://x", "mqtt-tcp", "x"),),
            "bridge",
            forwards=forwards,
            subscriptions=subscriptions,
            hop_limit=hop_limit,
        )
        if echoes is not None:
            echoes.join(settings)
        self.now = 0.0
        self.counters = BridgeCounters()
        self.version = version
        self.relay = Relay(
            settings,
            limits or RemoteLimits(version),
            broker_id="me",
            counters=self.counters,
            now=lambda: self.now,
            echoes=echoes,
            max_topic_levels=max_topic_levels,
        )

    def local(self, *packets: Packet) -> None:
        """The broker's session sends these."""
        self.relay.local_data(b"".join(self._encoded(one) for one in packets))

    def remote(self, *packets: Packet) -> None:
        decoder = Decoder(1 << 20)
        decoder.version, decoder.runs = self.version, True
        for packet in decoder.feed(b"".join(self._encoded(one) for one in packets)):
            self.relay.from_remote(packet)

    def to_remote(self) -> list[Packet]:
        return self._taken(self.relay.to_remote)

    def to_local(self) -> list[Packet]:
        packets = list(singly(self.relay.to_local))
        self.relay.to_local.clear()
        return packets

    def _encoded(self, packet: Packet) -> bytes:
        return packet.wire if isinstance(packet, Publish) else encode(packet, self.version)

    def _taken(self, chunks: list[bytes]) -> list[Packet]:
        decoder = Decoder(1 << 28)
        decoder.version = self.version
        packets = list(singly(decoder.feed(b"".join(chunks))))
        assert decoder.error is None
        chunks.clear()
        return packets


def publish(topic: str, payload: bytes = b"x", *, version: int = 4, **options: Any) -> Publish:
    return make_publish(topic, payload, version=version, **options)


def forward(source: str, target: str = "", **options: Any) -> Forward:
    return Forward(Mapping.of(source, target), **options)


def comes(source: str, target: str = "", **options: Any) -> RemoteSubscription:
    return RemoteSubscription(Mapping.of(source, target), **options)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("target", ["", "other"])
def test_a_message_keeps_its_packet_identifier_and_waits_for_its_acknowledgement(
    version: int, qos: int, target: str
) -> None:
    sides = Sides(forward("a/#", target), version=version)
    sides.local(publish("a/1", qos=qos, packet_id=7 if qos else 0, version=version))
    (sent,) = sides.to_remote()
    assert isinstance(sent, Publish)
    assert (sent.topic, sent.qos, sent.packet_id) == (target or "a/1", qos, 7 if qos else 0)
    assert sides.to_local() == []
    if qos == 1:
        sides.remote(Puback(7))
        assert sides.to_local() == [Puback(7)]
    if qos == 2:
        sides.remote(Pubrec(7))
        assert sides.to_local() == [Pubrec(7)]
        sides.local(Pubrel(7))
        assert sides.to_remote() == [Pubrel(7)]
        sides.remote(Pubcomp(7))
        assert sides.to_local() == [Pubcomp(7)]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_that_comes_is_acknowledged_by_the_broker(version: int, qos: int) -> None:
    sides = Sides(subscriptions=(comes("r/#", "#"),), version=version)
    sides.remote(publish("r/1", qos=qos, packet_id=9 if qos else 0, version=version))
    (got,) = sides.to_local()
    assert isinstance(got, Publish)
    assert (got.topic, got.qos, got.packet_id) == ("1", qos, 9 if qos else 0)
    assert sides.to_remote() == []
    if qos == 1:
        sides.local(Puback(9))
        assert sides.to_remote() == [Puback(9)]
    if qos == 2:
        sides.local(Pubrec(9))
        assert sides.to_remote() == [Pubrec(9)]
        sides.remote(Pubrel(9))
        assert sides.to_local() == [Pubrel(9)]
        sides.local(Pubcomp(9))
        assert sides.to_remote() == [Pubcomp(9)]


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("target", ["", "elsewhere/far/away"])
def test_runs_come_through_whole(qos: int, version: int, target: str) -> None:
    sides = Sides(forward("a/#", target), subscriptions=(comes("b/#", target),), version=version)
    # Their lengths have one byte, two bytes, and, with the other topic, both.
    payloads = [b"%d" % n + bytes(2 * n + 20 * (n > 40)) for n in range(1, 50)]

    def many(topic: str) -> list[Publish]:
        return [
            publish(topic, payload, qos=qos, packet_id=n if qos else 0, version=version)
            for n, payload in enumerate(payloads, 1)
        ]

    sides.local(*many("a/1"))
    sent = [one for one in sides.to_remote() if isinstance(one, Publish)]
    most = MOST_QOS_2 if qos == 2 and version == 4 else 49
    assert [one.payload for one in sent] == payloads[:most]
    assert {(one.topic, path_of(one.properties)) for one in sent} == {
        (target or "a/1", ("me",) if version == 5 else ())
    }
    assert [one.packet_id for one in sent] == [n if qos else 0 for n in range(1, most + 1)]
    assert sides.counters.sent == most
    sides.remote(*many("b/1"))
    assert sides.to_local() == many(target or "b/1")
    assert sides.counters.received == 49
    if qos:
        kind = Puback if qos == 1 else Pubrec
        sides.remote(*(kind(n) for n in range(1, 50)))
        assert sides.to_local() == [kind(n) for n in range(1, 50)]
        sides.local(*(kind(n) for n in range(1, 50)))
        assert sides.to_remote()[-49:] == [kind(n) for n in range(1, 50)]


@pytest.mark.parametrize("version", [4, 5])
def test_a_run_is_sent_but_for_the_messages_that_are_too_large(version: int) -> None:
    sides = Sides(forward("a", "b"), limits=RemoteLimits(version, maximum_packet_size=100), version=version)
    sides.local(*(publish("a", bytes(size), version=version) for size in (90, 97, 40, 98, 90)))
    kept = [one.payload for one in sides.to_remote() if isinstance(one, Publish)]
    assert kept == [bytes(size) for size in ((90, 40, 90) if version == 4 else (40,))]
    assert sides.counters.dropped["packet_too_large"] == 5 - len(kept)


@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_for_two_remote_topics_is_done_when_both_have_it(qos: int) -> None:
    sides = Sides(forward("a/#", "one"), forward("a/+", "two"))
    sides.local(publish("a/1", qos=qos, packet_id=1))
    first, second = sides.to_remote()
    assert isinstance(first, Publish)
    assert isinstance(second, Publish)
    assert {first.topic, second.topic} == {"one", "two"}
    assert len({first.packet_id, second.packet_id}) == 2
    for last, one in ((False, first), (True, second)):
        assert sides.to_local() == []
        if qos == 1:
            sides.remote(Puback(one.packet_id))
        else:
            sides.remote(Pubrec(one.packet_id))
            assert sides.to_remote() == [Pubrel(one.packet_id)]
            sides.remote(Pubcomp(one.packet_id))
        if not last:
            assert sides.to_local() == []
    assert sides.to_local() == [Puback(1) if qos == 1 else Pubrec(1)]
    if qos == 2:
        sides.local(Pubrel(1))
        assert sides.to_local() == [Pubcomp(1)]
        assert sides.to_remote() == []


def test_the_identifier_of_a_copy_is_no_message_s_own() -> None:
    """Messages beside it keep theirs, and get another where a copy has it."""
    sides = Sides(forward("a", "one"), forward("a", "two"), forward("b"))
    sides.local(publish("a", qos=1, packet_id=1))
    copies = [one.packet_id for one in sides.to_remote() if isinstance(one, Publish)]
    sides.local(publish("b", qos=1, packet_id=copies[0]))
    (other,) = sides.to_remote()
    assert isinstance(other, Publish)
    assert other.packet_id not in copies
    sides.remote(Puback(other.packet_id))
    assert sides.to_local() == [Puback(copies[0])]
    sides.local(publish("b", qos=1, packet_id=5))
    assert [one.packet_id for one in sides.to_remote() if isinstance(one, Publish)] == [5]
    sides.remote(Puback(5))
    assert sides.to_local() == [Puback(5)]


@pytest.mark.parametrize(("given", "wanted"), [(0, 1), (0, 2), (1, 2), (1, 0), (2, 1), (2, 0)])
def test_a_forward_s_own_qos(given: int, wanted: int) -> None:
    sides = Sides(forward("a", qos=wanted))
    sides.local(publish("a", qos=given, packet_id=3 if given else 0))
    (sent,) = sides.to_remote()
    assert isinstance(sent, Publish)
    assert sent.qos == wanted
    if wanted == 1:
        sides.remote(Puback(sent.packet_id))
    if wanted == 2:
        sides.remote(Pubrec(sent.packet_id))
        assert sides.to_remote() == [Pubrel(sent.packet_id)]
        sides.remote(Pubcomp(sent.packet_id))
    assert sides.to_local() == ([] if not given else [Puback(3) if given == 1 else Pubrec(3)])
    if given == 2:
        sides.local(Pubrel(3))
        assert sides.to_local() == [Pubcomp(3)]


@pytest.mark.parametrize("forwards", [(forward("a"),), (forward("a", "x"), forward("a", "y"))])
def test_brokers_of_3_1_1_are_not_sent_too_many_messages_of_qos_2(forwards: tuple[Forward, ...]) -> None:
    sides = Sides(*forwards)
    sides.local(*(publish("a", b"%d" % number, qos=2, packet_id=number) for number in range(1, 101)))
    open_, order = set(), []
    done: list[int] = []
    while packets := sides.to_remote():
        for packet in packets:
            if isinstance(packet, Publish):
                open_.add(packet.packet_id)
                order.append(int(packet.payload))
                assert len(open_) <= MOST_QOS_2
                sides.remote(Pubrec(packet.packet_id))
            elif isinstance(packet, Pubrel):
                open_.discard(packet.packet_id)
                sides.remote(Pubcomp(packet.packet_id))
        for packet in sides.to_local():
            if isinstance(packet, Pubrec):
                sides.local(Pubrel(packet.packet_id))
            elif isinstance(packet, Pubcomp):
                done.append(packet.packet_id)
    while packets := sides.to_local():
        done += [packet.packet_id for packet in packets if isinstance(packet, Pubcomp)]
    assert sorted(order) == order
    assert sorted(done) == list(range(1, 101))


def test_messages_raised_to_a_higher_qos_are_bounded() -> None:
    sides = Sides(forward("a", qos=1), limits=RemoteLimits(4, receive_maximum=20))
    for _ in range(30):
        sides.local(publish("a"))
    sent = [one.qos for one in sides.to_remote() if isinstance(one, Publish)]
    assert sent == [1] * 10 + [0] * 20
    assert sides.relay.window + 10 <= 20


def test_all_copies_fit_into_what_the_remote_broker_takes() -> None:
    limits = RemoteLimits(4, receive_maximum=10)
    assert Sides(forward("a"), limits=limits).relay.window == 10
    assert Sides(*[forward("a", str(n)) for n in range(3)], limits=limits).relay.window == 3
    assert Sides(*[forward("a", str(n)) for n in range(30)], limits=limits).relay.window == 1


@pytest.mark.parametrize(("retain", "arrives"), [(None, True), (False, False), (True, True)])
def test_the_retain_flag(retain: bool | None, arrives: bool) -> None:
    sides = Sides(forward("a", retain=retain), subscriptions=(comes("b", retain=retain),))
    sides.local(publish("a", retain=True))
    sides.remote(publish("b", retain=True))
    assert [one.retain for one in sides.to_remote() + sides.to_local() if isinstance(one, Publish)] == [
        arrives
    ] * 2


def test_what_the_remote_broker_cannot_do_is_not_asked_of_it() -> None:
    limits = RemoteLimits(5, maximum_packet_size=50, maximum_qos=1, retain_available=False)
    sides = Sides(forward("a"), limits=limits, version=5)
    sides.local(publish("a", qos=2, packet_id=1, retain=True, version=5))
    (sent,) = sides.to_remote()
    assert isinstance(sent, Publish)
    assert (sent.qos, sent.retain) == (1, False)
    sides.remote(Puback(sent.packet_id))
    assert sides.to_local() == [Pubrec(1)]
    sides.local(publish("a", b"x" * 100, qos=1, packet_id=2, version=5))
    assert sides.to_remote() == []
    assert sides.to_local() == [Puback(2)]
    assert sides.counters.dropped == {"packet_too_large": 1}


@pytest.mark.parametrize("qos", [1, 2])
def test_a_refusal_is_counted_and_ends_the_message(qos: int) -> None:
    sides = Sides(forward("a"), version=5)
    sides.local(publish("a", qos=qos, packet_id=4, version=5))
    kind = Puback if qos == 1 else Pubrec
    sides.remote(kind(4, ReasonCode.NOT_AUTHORIZED))
    assert sides.to_local() == [kind(4, ReasonCode.NOT_AUTHORIZED)]
    assert sides.counters.dropped == {"refused": 1}


def test_properties_go_along() -> None:
    sides = Sides(forward("a"), subscriptions=(comes("b"),), version=5)
    properties = Properties(content_type="text/plain", user_properties=(("k", "v"),), correlation_data=b"1")
    sides.local(publish("a", version=5, properties=properties))
    (sent,) = sides.to_remote()
    assert isinstance(sent, Publish)
    assert sent.properties is not None
    assert sent.properties.content_type == "text/plain"
    assert ("k", "v") in sent.properties.user_properties
    assert path_of(sent.properties) == ("me",)
    properties.subscription_identifiers = (3,)
    sides.remote(publish("b", version=5, properties=properties))
    (got,) = sides.to_local()
    assert isinstance(got, Publish)
    assert got.properties == Properties(
        content_type="text/plain", user_properties=(("k", "v"),), correlation_data=b"1"
    )


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_that_has_been_here_ends_here(qos: int) -> None:
    sides = Sides(forward("a"), subscriptions=(comes("a"),), version=5)
    been = Properties(user_properties=(("bridge-path", "other,me,third"),))
    sides.remote(publish("a", qos=qos, packet_id=1 if qos else 0, version=5, properties=been))
    assert sides.to_local() == []
    assert sides.to_remote() == ([] if not qos else [Puback(1) if qos == 1 else Pubrec(1)])
    if qos == 2:
        sides.remote(Pubrel(1))
        assert sides.to_remote() == [Pubcomp(1)]
    sides.local(publish("a", qos=qos, packet_id=2 if qos else 0, version=5, properties=been))
    assert sides.to_remote() == []
    assert sides.to_local() == ([] if not qos else [Puback(2) if qos == 1 else Pubrec(2)])
    assert sides.counters.dropped == {"loop": 2}


def test_the_number_of_hops_is_bounded() -> None:
    sides = Sides(forward("a"), version=5, hop_limit=2)
    for path in ("1", "1,2"):
        properties = Properties(user_properties=(("bridge-path", path),))
        sides.local(publish("a", version=5, properties=properties))
    (sent,) = sides.to_remote()
    assert isinstance(sent, Publish)
    assert path_of(sent.properties) == ("1", "me")
    assert sides.counters.dropped == {"hop_limit": 1}


def test_what_the_remote_broker_sends_back_is_passed_over_once() -> None:
    sides = Sides(forward("a/#", "", qos=None), subscriptions=(comes("a/#"),), echoes=Echoes())
    sides.local(publish("a/1"), publish("a/1"))
    assert len(sides.to_remote()) == 2
    for wanted in (0, 0, 1):
        sides.remote(publish("a/1"))
        assert len(sides.to_local()) == wanted
    sides.local(publish("a/1"))
    sides.now = 2 * SECONDS + 1
    sides.remote(publish("a/1"))
    assert len(sides.to_local()) == 1
    assert sides.counters.dropped == {"echo": 2}


def test_only_bridges_whose_topics_meet_are_looked_at() -> None:
    echoes = Echoes()

    def join(name: str, out: str, into: str) -> None:
        echoes.join(
            BridgeSettings(name, True, (), name, forwards=(forward(out),), subscriptions=(comes(into),))
        )

    join("one", "up/#", "down/#")
    assert not echoes.concern("one", no_local=False)
    join("other", "up/other", "x")
    assert echoes.concern("one", no_local=True)
    echoes.leave("other")
    assert not echoes.concern("one", no_local=True)
    join("both", "a/+", "a/b")
    assert not echoes.concern("both", no_local=True)
    assert echoes.concern("both", no_local=False)


def test_topics_that_lead_nowhere_are_counted_and_acknowledged() -> None:
    sides = Sides(forward("strip/#", "#"), subscriptions=(comes("r/#", "#"),))
    sides.local(publish("strip", qos=1, packet_id=1))
    sides.remote(publish("r", qos=1, packet_id=2), publish("other", qos=1, packet_id=3))
    assert sides.to_local() == [Puback(1)]
    assert sides.to_remote() == [Puback(2), Puback(3)]
    assert sides.counters.dropped == {"topic": 1, "not_subscribed": 2}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_topic_of_too_many_levels_ends_here_and_not_the_link(count: int, qos: int) -> None:
    sides = Sides(subscriptions=(comes("#", qos=1),), max_topic_levels=3)
    sides.remote(*(publish("a/b/c/d", qos=qos, packet_id=n * qos) for n in range(1, count + 1)))
    assert sides.to_local() == []
    assert sides.to_remote() == [Puback(n) for n in range(1, count + 1)] * qos
    assert sides.counters.dropped["topic"] == count
    sides.remote(*(publish("a/b/c", qos=qos, packet_id=n * qos) for n in range(1, count + 1)))
    assert len(sides.to_local()) == count


def test_many_topics_do_not_fill_the_memory() -> None:
    sides = Sides(forward("a/#"), subscriptions=(comes("b/#"),))
    for number in range(100):
        sides.local(publish(f"a/{number}/" + "x" * 60_000))
        sides.remote(publish(f"b/{number}/" + "x" * 60_000))
        sides.to_remote(), sides.to_local()
    kept = [*sides.relay._targets, *sides.relay._sources]
    assert sum(map(len, kept)) < 1 << 20


def test_identifiers_for_subscribe_run_out_and_come_back() -> None:
    relay = Sides().relay
    assert len({relay.reserve() for _ in range(0xFFFF)}) == 0xFFFF
    assert relay.reserve() == 0
    relay.answered(7)
    assert relay.reserve() == 7


def test_a_disconnect_says_why() -> None:
    sides = Sides(version=5)
    with pytest.raises(RemoteEndedError, match="server busy: come later"):
        sides.remote(Disconnect(ReasonCode.SERVER_BUSY, Properties(reason_string="come later")))


def test_a_server_does_not_connect() -> None:
    with pytest.raises(ProtocolError, match="CONNECT came from a server"):
        Sides().remote(Connect("MQTT", 4, True, 0, "x"))
