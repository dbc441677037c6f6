"""Sessions that move to the node their client connects to."""

from __future__ import annotations

import random
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker.broker.cluster import records
from pybroker.broker.cluster.moves import Kind, Message
from pybroker.broker.cluster.node import DEAD_AFTER, FORGOTTEN_AFTER
from pybroker.broker.cluster.takeover import PATIENCE, RETRY, STAY
from pybroker.broker.config.settings import Limits
from pybroker.broker.engine import publish, spreading
from pybroker.broker.engine.offline import add_offline_session
from pybroker.broker.hooks import Hooks
from pybroker.broker.packets.model import Connack, Puback, Pubcomp, Publish, Pubrec, Pubrel, Will
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.state.transfer import ArrivingSession
from tests.harness import Client

from .support import Cluster


def present(client: Client) -> bool:
    assert client.connack is not None
    assert client.connack.reason == ReasonCode.SUCCESS
    return client.connack.session_present


@pytest.mark.parametrize("version", [4, 5])
def test_a_session_moves_with_its_subscriptions_and_messages(version: int) -> None:
    cluster = Cluster(moves=True)
    first = cluster.arrive(1, "c", version)
    assert not present(first)
    cluster.subscribe(first, "a/+", "b", qos=2)
    publisher = cluster.arrive(0, "p")
    first.drop()
    for n in range(5):
        publisher.publish(f"a/{n}", b"%d" % n, 1 + n % 2)
    cluster.settle()
    second = cluster.arrive(2, "c", version)
    assert present(second)
    assert [(m.topic, m.payload, m.qos) for m in second.messages()] == [
        (f"a/{n}", b"%d" % n, 1 + n % 2) for n in range(5)
    ]
    publisher.publish("b", b"later", 1)
    cluster.settle()
    assert second.payloads() == [b"later"]
    assert "c" not in cluster[1].engine.sessions
    assert len(cluster[1].engine.router) == 0
    assert cluster.ends[0].peers["1"].filters == set()


def test_a_connected_client_is_displaced_and_told() -> None:
    cluster = Cluster(moves=True)
    first = cluster.arrive(1, "c")
    cluster.pass_time(STAY)
    second = cluster.arrive(2, "c")
    assert present(second)
    first.closed(ReasonCode.SESSION_TAKEN_OVER)


def test_inflight_messages_keep_their_identifiers_and_state() -> None:
    cluster = Cluster(moves=True)
    first = cluster.arrive(0, "c")
    cluster.subscribe(first, "t", qos=2)
    publisher = cluster.arrive(1, "p")
    for n in range(3):
        publisher.publish("t", b"%d" % n, 2)
    cluster.settle()
    sent = [first.message(acknowledge=False) for _ in range(3)]
    first.send(Pubrec(sent[0].packet_id))
    first.drop()
    second = cluster.arrive(2, "c")
    assert second.next(Pubrel).packet_id == sent[0].packet_id
    again = [second.next(Publish) for _ in range(2)]
    assert [(m.packet_id, m.payload, m.dup) for m in again] == [
        (m.packet_id, m.payload, True) for m in sent[1:]
    ]


def test_a_message_that_is_sent_again_to_another_node_is_no_second_message() -> None:
    cluster = Cluster(moves=True)
    subscriber = cluster.arrive(0, "s")
    cluster.subscribe(subscriber, "t", qos=2)
    first = cluster.arrive(1, "p")
    first.send_publish("t", b"x", 2, packet_id=7)
    first.next(Pubrec)
    cluster.settle()
    first.drop()
    second = cluster.arrive(2, "p")
    second.send_publish("t", b"x", 2, packet_id=7, dup=True)
    second.next(Pubrec)
    second.send(Pubrel(7))
    cluster.settle()
    assert subscriber.payloads() == [b"x"]


def test_a_clean_start_ends_the_session_where_it_was() -> None:
    cluster = Cluster(moves=True)
    first = cluster.arrive(0, "c", will=Will("will", b"gone"))
    watcher = cluster.arrive(1, "w")
    cluster.subscribe(watcher, "will")
    cluster.subscribe(first, "t", qos=1)
    second = cluster.arrive(2, "c", clean_start=True)
    assert not present(second)
    first.closed(ReasonCode.SESSION_TAKEN_OVER)
    cluster.settle()
    assert watcher.payloads() == [b"gone"]
    assert "c" not in cluster[0].engine.sessions
    assert cluster.directory is not None
    assert cluster.directory.owners["c"].node == "2"


def test_a_session_without_expiry_ends_with_its_connection() -> None:
    cluster = Cluster(moves=True)
    first = cluster.arrive(0, "c", session_expiry_interval=0)
    second = cluster.arrive(1, "c")
    assert not present(second)
    first.closed(ReasonCode.SESSION_TAKEN_OVER)


def test_nobody_owns_a_client_whose_session_has_ended() -> None:
    cluster = Cluster(moves=True)
    client = cluster.arrive(0, "c", session_expiry_interval=0)
    client.disconnect()
    cluster.settle()
    assert cluster.directory is not None
    assert cluster.directory.owners == {}
    again = cluster.arrive(0, "c", clean_start=True)
    assert cluster.directory.owners["c"].node == "0"
    cluster.arrive(0, "c", clean_start=True)  # the same client on the same node keeps its claim
    assert again.is_closed
    assert cluster.directory.owners["c"].node == "0"


def test_a_delayed_will_and_the_expiry_move_too() -> None:
    cluster = Cluster(moves=True)
    watcher = cluster.arrive(0, "w")
    cluster.subscribe(watcher, "will")
    will = Will("will", b"gone", properties=Properties(will_delay_interval=20))
    first = cluster.arrive(1, "c", will=will, session_expiry_interval=60)
    first.drop()
    # It connects to another node, and is gone before its session has come.
    second = cluster[2].dial()
    second.send_connect("c", clean_start=False, session_expiry_interval=60)
    second.drop()
    cluster.settle()
    assert "c" in cluster[2].engine.sessions
    assert "c" not in cluster[1].engine.sessions
    cluster.pass_time(21)
    assert watcher.payloads() == [b"gone"]
    assert "c" in cluster[2].engine.sessions
    cluster.pass_time(40)
    cluster.settle()
    assert cluster.directory is not None
    assert "c" not in cluster[2].engine.sessions
    assert "c" not in cluster.directory.owners


def test_a_client_that_comes_back_in_time_cancels_its_will() -> None:
    cluster = Cluster(moves=True)
    watcher = cluster.arrive(0, "w")
    cluster.subscribe(watcher, "will")
    will = Will("will", b"gone", properties=Properties(will_delay_interval=20))
    cluster.arrive(1, "c", will=will).drop()
    assert present(cluster.arrive(2, "c"))
    cluster.pass_time(30)
    watcher.nothing()


def test_members_of_shared_subscriptions_move_and_each_message_goes_to_one() -> None:
    cluster = Cluster(moves=True)
    mover, other = cluster.arrive(0, "m"), cluster.arrive(1, "o")
    for one in (mover, other):
        cluster.subscribe(one, "$share/g/t", qos=1)
    publisher = cluster.arrive(2, "p")
    got: list[bytes] = []
    for n in range(30):
        if n % 10 == 5:
            got += mover.payloads()
            mover = cluster.arrive((n // 10 + 1) % 3, "m")
            cluster.pass_time(STAY)
        publisher.publish("t", b"%d" % n, 1)
        cluster.settle()
    got += mover.payloads() + other.payloads()
    assert sorted(map(int, got)) == list(range(30))


def test_a_large_session_is_sent_in_pieces() -> None:
    cluster = Cluster(moves=True, max_mqueue_len=5000, limits=Limits(max_subscriptions=5000))
    first = cluster.arrive(0, "c")
    filters = [f"t/{n}" for n in range(3000)]
    for n in range(0, 3000, 500):
        cluster.subscribe(first, *filters[n : n + 500], qos=1)
    first.drop()
    publisher = cluster.arrive(1, "p")
    for n in range(3000):
        publisher.publish(f"t/{n}", b"x" * 1000, 1)
    cluster.settle()
    second = cluster.arrive(2, "c")
    got: list[Publish] = []
    while some := second.messages():
        got += some
    assert [m.topic for m in got] == filters
    assert cluster.ends[1].peers["2"].filters >= set(filters)
    assert not cluster.ends[1].peers["0"].filters


def test_retained_messages_that_were_owed_are_sent_by_the_next_node() -> None:
    cluster = Cluster(moves=True, max_inflight_window=1)
    publisher = cluster.arrive(0, "p")
    for n in range(5):
        publisher.publish(f"t/{n}", b"%d" % n, 1, retain=True)
    cluster.settle()
    first = cluster.arrive(1, "c")
    cluster.subscribe(first, "t/#", qos=1)
    first.drop()
    second = cluster.arrive(2, "c")
    assert {m.payload for m in second.messages()} == {b"%d" % n for n in range(5)}


def test_events_tell_of_the_connection_and_of_no_end_of_the_session() -> None:
    hooks = Hooks()
    told: list[str] = []
    hooks.client_disconnected = (lambda event: told.append(f"disconnected {event.reason}"),)
    hooks.session_terminated = (lambda event: told.append("terminated"),)
    cluster = Cluster(moves=True, hooks=hooks)
    cluster.arrive(0, "c")
    cluster.arrive(1, "c")
    assert told == ["disconnected takenover"]


def test_clients_that_displace_each_other_are_slowed_down() -> None:
    cluster = Cluster(2, moves=True)
    cluster.arrive(0, "c")
    cluster.arrive(1, "c")
    third = cluster[0].dial()
    third.send_connect("c", clean_start=False, session_expiry_interval=1000)
    cluster.settle()
    third.nothing()
    cluster.pass_time(STAY)
    assert third.next(Connack).session_present


@pytest.mark.parametrize("version", [3, 4, 5])
def test_connect_waits_no_longer_than_its_patience(version: int) -> None:
    cluster = Cluster(2, moves=True)
    first = cluster.arrive(0, "c", version)
    cluster.subscribe(first, "t", qos=1)
    second = cluster[1].dial(version)
    options = {"session_expiry_interval": 1000} if version == 5 else {}
    second.send_connect("c", clean_start=False, **options)
    cluster.clock.advance(PATIENCE)  # nothing is delivered
    connack = second.next(Connack)
    assert connack.reason == ReasonCode.SERVER_UNAVAILABLE  # 3 in MQTT 3.x
    assert second.is_closed
    cluster.settle()
    cluster.arrive(1, "c", version)
    assert set(cluster[1].engine.sessions.get("c").subscriptions) == {"t"}  # type: ignore[union-attr]


def test_the_session_of_a_dead_node_is_lost_and_the_client_is_told() -> None:
    cluster = Cluster(moves=True)
    first = cluster.arrive(0, "c")
    cluster.subscribe(first, "t", qos=1)
    cluster.die(0)
    second = cluster[1].dial()
    second.send_connect("c", clean_start=False, session_expiry_interval=1000)
    for _ in range(int(DEAD_AFTER) + 2):
        cluster.pass_time(1)
    assert second.next(Connack).reason == ReasonCode.SERVER_UNAVAILABLE
    assert not present(cluster.arrive(1, "c"))
    cluster.pass_time(STAY)
    assert present(cluster.arrive(2, "c"))


def test_a_node_that_dies_while_it_takes_a_session_gives_it_back() -> None:
    cluster = Cluster(moves=True)
    first = cluster.arrive(0, "c")
    cluster.subscribe(first, "t", "$share/g/u", qos=1)
    first.drop()
    publisher = cluster.arrive(2, "p")
    publisher.publish("t", b"before", 1)
    cluster.settle()
    client = cluster[1].dial()
    client.send_connect("c", clean_start=False, session_expiry_interval=1000)
    while cluster.ways.deliver_one(0, 1) or cluster.ways.deliver_one(1, 2) or cluster.ways.deliver_one(2, 0):
        pass
    for _ in range(3):
        cluster.ways.deliver_one(1, 0)
    cluster.die(1)
    for _ in range(int(FORGOTTEN_AFTER) + 3):
        cluster.pass_time(1)
    publisher.publish("t", b"after", 1)
    publisher.publish("u", b"shared", 1)
    cluster.settle()
    last = cluster.arrive(2, "c")
    assert present(last)
    assert last.payloads() == [b"before", b"after", b"shared"]


def test_without_the_directory_who_is_here_and_clean_starts_are_served() -> None:
    cluster = Cluster(moves=True)
    assert cluster.directory is not None
    here = cluster.arrive(0, "here")
    cluster.directory.available = False
    here.drop()
    assert present(cluster.arrive(0, "here"))
    refused = cluster[0].dial()
    refused.send_connect("new", clean_start=False)
    assert refused.next(Connack).reason == ReasonCode.SERVER_UNAVAILABLE
    assert not present(cluster.arrive(1, "clean", clean_start=True))


def test_without_the_directory_nobody_is_served_where_that_is_wanted() -> None:
    cluster = Cluster(moves=True, serves_alone=False)
    assert cluster.directory is not None
    cluster.arrive(0, "here").drop()
    cluster.directory.available = False
    for client_id, clean in (("here", False), ("new", True)):
        refused = cluster[0].dial()
        refused.send_connect(client_id, clean_start=clean)
        assert refused.next(Connack).reason == ReasonCode.SERVER_UNAVAILABLE


def test_of_two_holders_that_of_the_later_claim_stays() -> None:
    """Node 0 was taken for dead, and was not."""
    cluster = Cluster(moves=True)
    old = cluster.arrive(0, "c")
    cluster.subscribe(old, "old", qos=1)
    cluster.ways.cut(0, 1)
    cluster.ways.cut(0, 2)
    for _ in range(int(FORGOTTEN_AFTER) + 3):
        cluster.pass_time(1)
    new = cluster.arrive(1, "c")
    assert not present(new)
    cluster.ways.join(0, 1)
    cluster.ways.join(0, 2)
    cluster.settle()
    for _ in range(3):
        cluster.pass_time(1)
    old.closed(ReasonCode.SESSION_TAKEN_OVER)
    new.nothing()
    assert "c" not in cluster[0].engine.sessions
    assert cluster.directory is not None
    assert cluster.directory.owners["c"].node == "1"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**48), st.sampled_from([1, 2]), st.sampled_from([4, 5]), st.booleans())
def test_numbered_messages_come_once_and_in_order_while_clients_move(
    seed: int, qos: int, version: int, busy: bool
) -> None:
    """Ways are cut and frames lost, but nobody dies. ``busy``: every turn is over after one step, and each
    message goes to its receivers in turns."""
    with pytest.MonkeyPatch.context() as patch:
        if busy:
            patch.setattr(spreading, "MOST_BYTES", 1)
            patch.setattr(publish, "LARGE_MESSAGE", 1)
        move_at_random(seed, qos, version, busy=busy)


def move_at_random(seed: int, qos: int, version: int, *, busy: bool) -> None:
    chance = random.Random(seed)
    cluster = Cluster(moves=True, retry_interval=0.0)
    ids = ("c1", "c2")
    clients: dict[str, Client] = {}
    readers = {one: Reader() for one in ids}
    for one in ids:
        clients[one] = cluster.arrive(chance.randrange(3), one, version)
        cluster.subscribe(clients[one], "t/0", "t/+", "t/1", "t/2", qos=2)
    publishers = [cluster.arrive(index, f"p{index}") for index in range(3)]
    if busy:
        for broker in cluster.nodes:
            broker.engine.turns.now = count().__next__
    sent = [0, 0, 0]
    for _ in range(150):
        one = chance.choice(ids)
        index, other = chance.sample(range(3), 2)
        match chance.choice(
            ["publish"] * 4
            + ["deliver"] * 12
            + ["read"] * 2
            + ["move", "lose", "cut", "join", "time", "drop"]
        ):
            case "publish":
                publishers[index].send_publish(f"t/{index}", b"%d" % sent[index], qos)
                sent[index] += 1
            case "deliver":
                cluster.ways.deliver_one(index, other)
                if chance.random() < 0.5:
                    cluster[index].answer()
            case "read":
                readers[one].read(clients[one])
            case "move":
                client = cluster[index].dial(version)
                options = {"session_expiry_interval": 1000} if version == 5 else {}
                client.send_connect(one, clean_start=False, **options)
                readers[one].read(clients[one])
                clients[one] = client
            case "drop":
                readers[one].read(clients[one])
                if not clients[one].is_closed:
                    clients[one].drop()
            case "lose":
                cluster.ways.lose(index, other)
            case "cut":
                cluster.ways.cut(index, other)
            case "join":
                cluster.ways.join(index, other)
            case "time":
                cluster.clock.advance(chance.random() / 10)
    for index in range(3):
        cluster.ways.join(index, (index + 1) % 3)
    for _ in range(20):
        cluster.pass_time(1)
    for one in ids:
        readers[one].read(clients[one])
        last = cluster.arrive(chance.randrange(3), one, version)
        for _ in range(3):
            cluster.pass_time(1)
        assert present(last)
        while last.pending():
            readers[one].read(last)
            cluster.settle()
        for index in range(3):
            numbers = [number for source, number in readers[one].got if source == index]
            assert numbers == list(range(sent[index])), (one, index)


class Reader:
    """Acknowledges what it receives, over all connections of one client, and notes publisher and number of
    each message. A message that was acknowledged too late for the broker comes again with DUP set."""

    def __init__(self) -> None:
        self.got: list[tuple[int, int]] = []
        self._unreleased: set[int] = set()

    def read(self, client: Client) -> None:
        if client.is_closed:
            return
        for packet in client.packets():
            if isinstance(packet, Publish):
                message = int(packet.topic[2:]), int(packet.payload)
                if packet.qos == 2 and packet.packet_id in self._unreleased:
                    assert packet.dup
                elif packet.qos == 2 or not (packet.dup and message in self.got):
                    self.got.append(message)
                if packet.qos == 2:
                    self._unreleased.add(packet.packet_id)
                client.send((Puback if packet.qos == 1 else Pubrec)(packet.packet_id))
            elif isinstance(packet, Pubrel):
                self._unreleased.discard(packet.packet_id)
                client.send(Pubcomp(packet.packet_id))


def test_what_a_client_has_published_before_it_moves_comes_before_what_it_publishes_then() -> None:
    cluster = Cluster(moves=True)
    subscriber = cluster.arrive(2, "s")
    cluster.subscribe(subscriber, "t", qos=1)
    first = cluster.arrive(0, "p")
    cluster.subscribe(first, "elsewhere")
    cluster.ways.cut(0, 2)
    first.publish("t", b"1", 1)
    second = cluster[1].dial()
    second.send_connect("p", clean_start=False, session_expiry_interval=1000)
    cluster.settle()
    second.nothing()
    cluster.ways.join(0, 2)
    cluster.settle()
    second.next(Connack)
    second.publish("t", b"2", 1)
    cluster.settle()
    assert subscriber.payloads() == [b"1", b"2"]


def test_a_node_that_was_only_taken_for_dead_repeats_nothing_and_is_heard_again() -> None:
    cluster = Cluster(moves=True)
    first = cluster.arrive(0, "c")
    other = cluster.arrive(2, "o")  # so that node 1 sends to both nodes from the outset
    for one in (first, other):
        cluster.subscribe(one, "t", qos=2)
    publisher = cluster.arrive(1, "p")
    publisher.send_publish("t", b"1", 2)
    while cluster.ways.deliver_one(1, 0):
        pass
    assert first.payloads() == [b"1"]
    cluster.ways.cut(1, 2)
    cluster.ways.cut(1, 0)
    for _ in range(int(DEAD_AFTER) + 2):
        cluster.pass_time(1)
    first.drop()
    second = cluster.arrive(2, "c")
    assert present(second)
    cluster.ways.join(0, 1)
    cluster.ways.join(1, 2)
    cluster.settle()
    assert other.payloads() == [b"1"]
    second.nothing()
    publisher.send_publish("t", b"2", 2)
    cluster.settle()
    assert second.payloads() == [b"2"]
    assert cluster.ends[2]._incoming.shut == {}


def test_a_session_on_disk_stays_and_its_client_is_refused_elsewhere() -> None:
    cluster = Cluster(moves=True)
    first = cluster.arrive(0, "c")
    cluster.subscribe(first, "t", qos=1)
    first.drop()
    session = cluster[0].engine.sessions.get("c")
    assert session is not None
    session.behind = True  # as if messages were on disk alone
    second = cluster[1].dial()
    second.send_connect("c", clean_start=False, session_expiry_interval=1000)
    cluster.settle()
    assert second.next(Connack).reason == ReasonCode.SERVER_UNAVAILABLE
    assert cluster.directory is not None
    assert cluster.directory.owners["c"].node == "0"
    session.behind = False
    assert present(cluster.arrive(0, "c"))
    assert present(cluster.arrive(1, "c"))


def test_sessions_of_an_earlier_run_are_claimed_at_the_start() -> None:
    cluster = Cluster(2, moves=True)
    assert cluster.directory is not None
    cluster.arrive(1, "taken")
    for client_id in ("c", "taken"):
        add_offline_session(cluster[0].engine, client_id, 1000)
    cluster.ends[0]._moves.start()  # type: ignore[union-attr]
    cluster.pass_time(1)
    assert cluster.directory.owners["c"].node == "0"
    assert "taken" not in cluster[0].engine.sessions
    assert cluster.directory.owners["taken"].node == "1"
    assert present(cluster.arrive(1, "c"))


def test_a_clean_start_without_the_directory_is_claimed_when_it_is_back() -> None:
    cluster = Cluster(2, moves=True)
    assert cluster.directory is not None
    old = cluster.arrive(0, "c")
    cluster.arrive(1, "another")  # so that node 1 has seen an epoch after that of the old session
    cluster.directory.available = False
    cluster.ends[1].alone(True)
    new = cluster.arrive(1, "c", clean_start=True)
    cluster.directory.available = True
    cluster.ends[1].alone(False)
    cluster.pass_time(1)
    old.closed(ReasonCode.SESSION_TAKEN_OVER)
    new.nothing()
    assert "c" not in cluster[0].engine.sessions
    assert cluster.directory.owners["c"].node == "1"


def test_a_clean_start_without_the_directory_gives_way_to_a_later_claim() -> None:
    cluster = Cluster(2, moves=True)
    assert cluster.directory is not None
    cluster.directory.available = False
    cluster.ends[1].alone(True)
    before = cluster.arrive(1, "c", clean_start=True)
    cluster.directory.available = True
    later = cluster.arrive(0, "c")  # node 0 has the directory again before node 1
    cluster.ends[1].alone(False)
    cluster.pass_time(1)
    before.closed(ReasonCode.SESSION_TAKEN_OVER)
    later.nothing()
    assert cluster.directory.owners["c"].node == "0"


def test_a_message_of_another_version_is_ignored() -> None:
    cluster = Cluster(2, moves=True)
    for body in (b"", b"\xff" * 40, records.move(Message(Kind.OFFER, "c", 1, data=b"x"))[5:]):
        cluster.ends[0].peers["1"].tell(records.pack(records.MOVE, body))
    cluster[0].engine.flush()
    cluster.settle()
    assert present(cluster.arrive(0, "c")) is False
    assert present(cluster.arrive(1, "c"))


def test_a_session_that_cannot_be_read_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(2, moves=True)
    first = cluster.arrive(0, "c")
    cluster.subscribe(first, "t", qos=1)
    first.drop()

    def unreadable(pieces: object, piece: bytes) -> None:
        raise ValueError("a later format")

    with monkeypatch.context() as patch:
        patch.setattr(ArrivingSession, "read", unreadable)
        second = cluster[1].dial()
        second.send_connect("c", clean_start=False, session_expiry_interval=1000)
        cluster.settle()
        assert second.next(Connack).reason == ReasonCode.SERVER_UNAVAILABLE
    assert cluster.directory is not None
    assert cluster.directory.owners["c"].node == "0"
    assert present(cluster.arrive(0, "c"))


def test_a_session_that_expires_while_it_moves_is_gone() -> None:
    cluster = Cluster(moves=True)
    first = cluster.arrive(0, "c", session_expiry_interval=10)
    cluster.subscribe(first, "t", "$share/g/t", qos=1)
    first.drop()
    cluster.clock.advance(9)
    second = cluster[1].dial()
    second.send_connect("c", clean_start=False, session_expiry_interval=10)
    while cluster.ways.deliver_one(1, 0) or cluster.ways.deliver_one(0, 1):
        pass  # node 2 has not switched
    cluster.clock.advance(1)
    cluster.settle()
    assert not second.next(Connack).session_present
    assert len(cluster[0].engine.router) == 0


def test_a_clean_start_whose_claim_was_not_answered_is_claimed_later() -> None:
    cluster = Cluster(2, moves=True)
    assert cluster.directory is not None
    cluster.directory.available = False
    cluster.arrive(0, "c", clean_start=True)
    cluster.pass_time(RETRY)
    cluster.directory.available = True
    cluster.pass_time(RETRY)
    assert cluster.directory.owners["c"].node == "0"
