"""Faults of a broker of several processes."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest

from pybroker.broker.app import share_faults
from pybroker.broker.faults.fault import Fault
from pybroker.broker.faults.rules import Faults, Rule
from pybroker.broker.faults.seen import SeenPacket

from ..integration.clients import connected
from ..integration.support import RunningBroker, wait_for
from .support import Cluster
from .test_http import HTTP, Api
from .test_workers import name_for, pybroker, workers_of

Start = Callable[..., RunningBroker]


class Shared:
    """Three nodes with the fault of their configuration."""

    def __init__(self) -> None:
        self.cluster = Cluster(3)
        self.faults = [self.at(index) for index in range(3)]
        self.restarts: list[tuple[int, bool, float]] = []

    def at(self, index: int) -> Faults:
        faults = Faults()
        faults.restart = lambda keep_state, seconds: self.restarts.append((index, keep_state, seconds))
        faults.add(Fault(action="drop", packet="PUBACK", times=3))
        share_faults(self.cluster.ends[index], faults)
        return faults

    def settle(self) -> None:
        for node in self.cluster.nodes:
            node.engine.flush()
        self.cluster.settle()

    def replace(self, index: int) -> None:
        self.cluster.die(index)
        self.cluster.nodes[index], self.cluster.ends[index] = self.cluster.make(index, first=False)
        self.faults[index] = self.at(index)
        self.cluster.ways.enter(index, self.cluster.ends[index])
        self.settle()

    def strike(self, index: int) -> bool:
        """Whether the first fault strikes a PUBACK at this node."""
        faults = self.faults[index]
        seen = SeenPacket(
            at=0.0,
            direction="out",
            client="c",
            type="PUBACK",
            topics=(),
            packet=None,
            size=4,
            peer="",
            listener="",
        )
        struck = [rule for rule in faults if rule.strikes(seen, {})]
        for rule in struck:
            assert faults.struck is not None
            faults.struck(rule)
        self.settle()
        return any(rule.number == 1 for rule in struck)

    def rules(self) -> list[list[tuple[int, str, int]]]:
        return [[(rule.number, rule.fault.action, rule.struck) for rule in faults] for faults in self.faults]


@pytest.fixture
def shared() -> Shared:
    return Shared()


def test_all_have_the_same_faults(shared: Shared) -> None:
    shared.faults[0].add(Fault(action="latency", seconds=1.0))
    shared.settle()
    assert shared.rules() == [[(1, "drop", 0), (2, "latency", 0)]] * 3
    shared.faults[0].remove(1)
    shared.settle()
    assert shared.rules() == [[(2, "latency", 0)]] * 3
    shared.faults[0].clear()
    shared.settle()
    assert shared.rules() == [[]] * 3


def test_a_connection_looks_again_when_the_faults_of_another_process_change(shared: Shared) -> None:
    looks: list[int] = []
    shared.faults[2].watch(lambda: looks.append(len(shared.faults[2].rules)))
    shared.faults[0].add(Fault(action="stall"))
    shared.settle()
    assert looks == [2]


def test_strikes_are_counted_together(shared: Shared) -> None:
    assert [shared.strike(index) for index in (0, 1, 2, 0, 1)] == [True, True, True, False, False]
    assert shared.rules() == [[(1, "drop", 3)]] * 3


def test_another_change_keeps_the_count(shared: Shared) -> None:
    shared.strike(1)
    shared.faults[0].add(Fault(action="stall"))
    shared.settle()
    assert shared.rules() == [[(1, "drop", 1), (2, "stall", 0)]] * 3
    assert isinstance(shared.faults[1].rules[0], Rule)
    assert shared.faults[1].rules[0].fired == 1


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_that_begins_anew_is_told(shared: Shared, index: int) -> None:
    shared.faults[0].add(Fault(action="stall"))
    shared.settle()
    shared.strike(index)
    shared.strike(2)
    shared.replace(index)
    assert shared.rules() == [[(1, "drop", 2), (2, "stall", 0)]] * 3
    shared.faults[0].add(Fault(action="close"))
    shared.settle()
    assert [number for number, _, _ in shared.rules()[2]] == [1, 2, 3]
    assert [shared.strike(0), shared.strike(1)] == [True, False]


def test_all_restart(shared: Shared) -> None:
    restart = shared.faults[1].restart
    assert restart is not None
    restart(False, 2.0)
    shared.settle()
    assert sorted(shared.restarts) == [(index, False, 2.0) for index in range(3)]


# ---- with processes


@contextmanager
def publisher(port: int, name: str) -> Iterator[tuple[paho.Client, threading.Event]]:
    """A client, and an event that its last message was acknowledged."""
    acknowledged = threading.Event()
    with connected(port, name) as client:
        client.on_publish = lambda *_: acknowledged.set()
        yield client, acknowledged


def test_a_fault_strikes_at_any_worker(start_broker: Start) -> None:
    broker = start_broker("faults {}\n" + HTTP, "--workers", "3")
    api = Api(broker)
    done = pybroker(broker, "faults", "add", "drop", "packet=PUBACK", "times=2", "client=c*")
    assert done.returncode == 0, done.stderr
    ids = [name_for(n) for n in range(3)]
    answered = []
    for one in ids:  # one after the other: the third is acknowledged
        with publisher(broker.port, one) as (client, acknowledged):
            client.publish("t", "x", 1)
            struck = wait_for(
                lambda: acknowledged.is_set() or api.data("/faults")[0]["struck"] > sum(answered),
                "an end",
            )
            assert struck
            answered.append(not acknowledged.is_set())
    assert answered == [True, True, False]
    assert "struck 2 times" in pybroker(broker, "faults", "list").stdout
    assert api.data("/faults", "POST", {"action": "refuse", "client": "no*"})["number"] == 2

    before = set(workers_of(broker))
    os.kill(sorted(before)[2], signal.SIGKILL)
    wait_for(lambda: len(set(workers_of(broker)) - before) == 1, "another worker")
    with connected(broker.port, name_for(2, prefix="no")) as refused:
        assert refused.reason.is_failure
    assert pybroker(broker, "faults", "clear").returncode == 0
    with connected(broker.port, name_for(2, prefix="no")) as client:
        assert not client.reason.is_failure


def test_a_restart_is_one_of_all_workers(start_broker: Start) -> None:
    broker = start_broker("faults {}\n", "--workers", "2")
    ids = [name_for(n, 2) for n in range(2)]
    with connected(broker.port, ids[0]) as first, connected(broker.port, ids[1]) as second:
        done = pybroker(broker, "faults", "restart", "--seconds", "3")
        assert done.returncode == 0, done.stderr
        for client in (first, second):
            wait_for(client.left.is_set, "the end of the connection")
            client.disconnect()
            client.loop_stop()
    with pytest.raises(OSError):  # noqa: PT011 - refused, or reset
        connect(broker.port)
    wait_for(lambda: _is_open(broker.port), "the end of the outage")
    for one in ids:
        with connected(broker.port, one) as client:
            assert not client.reason.is_failure


def connect(port: int) -> None:
    """Raises OSError where the connection is not served."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x")
        if not connection.recv(4):
            raise ConnectionResetError


def _is_open(port: int) -> bool:
    try:
        connect(port)
    except OSError:
        return False
    return True
