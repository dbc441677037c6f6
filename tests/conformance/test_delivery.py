"""One publisher, one subscriber, and a network that cuts connections between any two bytes.

Whatever happens, once both are connected again: QoS 1 arrived at least once, QoS 2 exactly once, each in
the order of its publication.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.harness import Broker

from .peer import Peer

mqtt = pytest.mark.mqtt

figures: Counter[str] = Counter()
"""What the runs did; printed after the tests and quoted in docs/conformance.md."""

versions = st.sampled_from((3, 4, 5))
sides = st.sampled_from(("publisher", "subscriber"))
sizes = st.one_of(st.integers(1, 12), st.integers(13, 1000))
MOST_OWN = 15


class Delivery(RuleBasedStateMachine):
    @initialize(
        versions=st.tuples(versions, versions),
        receive_maximum=st.sampled_from((1, 2, 5, 65_535)),
        window=st.sampled_from((1, 2, 5, 2048)),
        broker_takes=st.sampled_from((1, 3, 1024)),
    )
    def start(self, versions: tuple[int, int], receive_maximum: int, window: int, broker_takes: int) -> None:
        figures["runs"] += 1
        self.broker = self.make_broker(max_inflight_window=window, receive_maximum=broker_takes)
        self.publisher = Peer(self.broker, "p", versions[0])
        self.subscriber = Peer(self.broker, "s", versions[1], receive_maximum)
        self.number = 0
        for peer in (self.subscriber, self.publisher):
            peer.connect(eager=False)
            self.flow(peer)

    @rule(qos=st.integers(1, 2), count=st.integers(1, 3))
    def publish(self, qos: int, count: int) -> None:
        for _ in range(count):
            if len(self.publisher.own) < MOST_OWN:
                self.number += 1
                self.publisher.publish(b"%d" % self.number, qos)
                figures["messages"] += 1

    @rule(side=sides, size=sizes)
    def to_the_broker(self, side: str, size: int) -> None:
        peer = self.peer(side)
        if peer.connected:
            peer.deliver(size)

    @rule(side=sides, size=sizes)
    def to_the_client(self, side: str, size: int) -> None:
        peer = self.peer(side)
        if peer.connected:
            peer.read(size)

    @rule(side=sides)
    def to_and_fro(self, side: str) -> None:
        peer = self.peer(side)
        if peer.connected:
            peer.deliver(1 << 20)
            peer.read(1 << 20)

    @rule(side=sides, eager=st.booleans(), back=st.booleans())
    def cut(self, side: str, eager: bool, back: bool) -> None:
        peer = self.peer(side)
        if peer.connected:
            figures["cuts"] += 1
            figures["cuts with bytes on their way"] += peer.cut() > 0
        if back:
            peer.connect(eager)

    @precondition(lambda self: not (self.publisher.connected and self.subscriber.connected))
    @rule(eager=st.booleans())
    def come_back(self, eager: bool) -> None:
        for peer in (self.publisher, self.subscriber):
            if not peer.connected:
                peer.connect(eager)

    @rule(side=sides, eager=st.booleans())
    def take_over(self, side: str, eager: bool) -> None:
        """Connect again before the broker has noticed that the old connection is gone."""
        figures["takeovers"] += 1
        self.peer(side).connect(eager)

    @rule(seconds=st.sampled_from((1, 9, 11, 100)))
    def wait(self, seconds: int) -> None:
        """Messages to 3.x clients are sent again by the clock too."""
        self.broker.clock.advance(seconds)

    def teardown(self) -> None:
        if not hasattr(self, "broker"):
            return
        for peer in (self.publisher, self.subscriber):
            if peer.connected:
                peer.cut()
            peer.connect(eager=False)
        for _ in range(1000):
            self.flow(self.publisher)
            self.flow(self.subscriber)
            if self.publisher.idle and self.subscriber.idle and not self.broker_is_at_work():
                break
        else:
            raise AssertionError("the clients never come to rest")
        self.check()

    def check(self) -> None:
        published, handed = self.publisher.published, self.subscriber.handed
        exactly_once = [message for message in handed if message[0] == 2]
        assert exactly_once == [message for message in published if message[0] == 2]
        at_least_once = [message for message in handed if message[0] == 1]
        assert list(dict.fromkeys(at_least_once)) == [message for message in published if message[0] == 1]
        figures["repeats at QoS 1"] += len(at_least_once) - len(dict.fromkeys(at_least_once))
        for session in self.broker.engine.sessions:
            assert session.queue is None
            assert session.inflight.messages == {}
            assert session.inflight.unsent == {}
            assert session.received == set()
        assert self.broker.engine.counters.dropped == Counter()

    def broker_is_at_work(self) -> bool:
        return False

    def make_broker(self, **mqtt: int) -> Broker:
        return Broker(**mqtt)

    def peer(self, side: str) -> Peer:
        return self.publisher if side == "publisher" else self.subscriber

    def flow(self, peer: Peer) -> None:
        """Until nothing is on its way in either direction."""
        while peer.outgoing or peer.link.written:
            peer.deliver(1 << 20)
            peer.read(1 << 20)


def run(examples: int, steps: int, machine: type[Delivery] = Delivery) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@mqtt("3.1.1:MQTT-4.3.2-1", "3.1.1:MQTT-4.3.2-2", "3.1.1:MQTT-4.3.3-1", "3.1.1:MQTT-4.3.3-2")
@mqtt("3.1.1:MQTT-4.4.0-1", "3.1.1:MQTT-4.6.0-1", "3.1.1:MQTT-4.6.0-5", "3.1.1:MQTT-4.6.0-6")
@mqtt("5.0:MQTT-4.3.2-3", "5.0:MQTT-4.3.3-6", "5.0:MQTT-4.3.3-10", "5.0:MQTT-4.4.0-1", "5.0:MQTT-4.6.0-5")
@mqtt("5.0:MQTT-4.6.0-6", "5.0:MQTT-4.9.0-2")
def test_nothing_is_lost_doubled_or_out_of_order() -> None:
    run(examples=150, steps=60)


@pytest.mark.slow
def test_nothing_is_lost_doubled_or_out_of_order_at_length() -> None:
    run(examples=3000, steps=150)
