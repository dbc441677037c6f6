"""How each node is: `pybroker cluster status`, `/nodes`, and metrics by node."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pybroker.broker.cluster.status import SILENT_AFTER, status_of_all
from pybroker.broker.commands.cluster import table
from pybroker.broker.commands.shown import shown_time

from ..integration.clients import connected
from ..integration.support import RunningBroker, wait_for
from .support import Cluster
from .test_http import HTTP, Api
from .test_workers import name_for, pybroker, workers_of

Start = Callable[..., RunningBroker]


def test_a_node_that_is_silent_does_not_answer() -> None:
    cluster = Cluster(3)
    cluster.pass_time(1)
    status = status_of_all(cluster.ends[0])
    assert [one["answers"] for one in status] == [True] * 3
    for _ in range(7):  # the ways stand, but the node reads and says nothing, as one that is stopped
        cluster.clock.advance(1)
        for other in (0, 1):
            for way in ((2, other), (other, 2)):
                while cluster.ways.lose(*way):
                    pass
        cluster.settle()
    status = status_of_all(cluster.ends[0])
    assert [one["answers"] for one in status] == [True, True, False]
    assert SILENT_AFTER < status[2]["silent_for"] < 9


def test_a_node_that_is_gone_does_not_answer() -> None:
    cluster = Cluster(3)
    cluster.die(1)
    assert [one["answers"] for one in status_of_all(cluster.ends[0])] == [True, False, True]
    cluster.replace(1)
    assert [one["answers"] for one in status_of_all(cluster.ends[0])] == [True] * 3


def test_what_waits_for_a_node_is_told() -> None:
    cluster = Cluster(3)
    subscriber = cluster.connect(1, "s")
    cluster.subscribe(subscriber, "t", qos=1)
    publisher = cluster.connect(0, "p")
    cluster.ways.cut(0, 1)
    publisher.send_publish("t", b"x" * 1000, qos=1)
    waiting = {one["name"]: one["waiting_bytes"] for one in status_of_all(cluster.ends[0])}
    assert waiting["1"] > 1000 > waiting["2"]


def node(name: str, **other: Any) -> dict[str, Any]:
    return {
        "name": name,
        "answers": True,
        "silent_for": 0.2,
        "up_since": 1000.0,
        "waiting_bytes": 0,
        "at": 2000.0,
        **dict.fromkeys(("clients", "sessions", "subscriptions", "retained", "queued"), 7),
        "messages_received": 100,
        "messages_sent": 1000,
        "memory_bytes": 50 << 20,
        "cpu_seconds": 1.0,
        **other,
    }


def test_the_table_has_rates_and_names_who_does_not_answer() -> None:
    before = [node("worker-1"), node("worker-2"), node("worker-3")]
    now = [
        node("worker-1", at=2002.0, messages_received=300, messages_sent=3000, cpu_seconds=2.0),
        node("worker-2", answers=False, silent_for=61.5, waiting_bytes=3 << 20),
        {"name": "worker-3", "answers": False, "silent_for": 40.0, "up_since": None, "waiting_bytes": 0},
    ]
    lines = table(before, now, 2002.0)
    assert " ".join(lines[1].split()) == "worker-1 16 min 42 s 7 7 7 7 7 100 1,000 0 B 50.0 MiB 50 %"
    assert lines[2].split()[:3] == ["worker-2", "no", "answer"]
    assert "3.0 MiB" in lines[2]
    assert lines[3].split()[3:] == [*["-"] * 7, "0", "B", "-", "-"]
    assert lines[4:] == [
        "worker-2 does not answer: its last word came 1 min 1 s ago, its numbers are as of then",
        "worker-3 does not answer: its last word came 40 s ago",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3600, "1 h"), (7260, "2 h 1 min"), (187_200, "2 d 4 h")],
)
def test_times_are_shown_by_two_units(seconds: float, text: str) -> None:
    assert shown_time(seconds) == text


def test_one_process_is_one_node(start_broker: Start) -> None:
    broker = start_broker(HTTP)
    [one] = Api(broker).data("/nodes")
    assert one["node_status"] == "Running"
    done = pybroker(broker, "cluster", "status", "--interval", "0.1")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    with urlopen(broker.facts["page"] + "metrics") as answer:
        assert "pybroker_node_" not in answer.read().decode()


def test_the_status_of_workers(start_broker: Start) -> None:
    broker = start_broker(HTTP, "--workers", "3")
    api = Api(broker)

    def status() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(pybroker(broker, "cluster", "status", "--json").stdout)
        return found

    with ExitStack() as stack:
        for worker, many in ((0, 1), (1, 3)):
            for n in range(many):
                client = stack.enter_context(connected(broker.port, name_for(worker, prefix=f"c{n}")))
                client.subscribe_and_wait([(f"t/{n}/{k}", 1) for k in range(2)])
        wait_for(lambda: [one.get("subscriptions") for one in status()] == [2, 6, 0], "the subscriptions")
        found = status()
        assert [one["name"] for one in found] == ["worker-1", "worker-2", "worker-3"]
        assert [one["clients"] for one in found] == [1, 3, 0]
        assert all(one["answers"] and one["memory_bytes"] > 1 << 20 and one["up_since"] for one in found)
        assert [one["connections"] for one in api.data("/nodes")] == [1, 3, 0]
        with urlopen(broker.facts["page"] + "metrics") as answer:
            families = {one.name: one for one in text_string_to_metric_families(answer.read().decode())}
        sizes = {
            sample.labels["node"]: sample.value for sample in families["pybroker_node_connections"].samples
        }
        assert sizes == {"worker-1": 1, "worker-2": 3, "worker-3": 0}
        assert families["pybroker_connections"].samples[0].value == 4
        table = pybroker(broker, "cluster", "status").stdout.splitlines()
        assert [line.split()[0] for line in table] == ["node", "worker-1", "worker-2", "worker-3"]

        stopped = workers_of(broker)[2]
        os.kill(stopped, signal.SIGSTOP)
        try:
            wait_for(lambda: not status()[2]["answers"], "the silence of worker 3")
            done = pybroker(broker, "cluster", "status", "--interval", "0")
            assert done.returncode == 1
            assert "worker-3 does not answer" in done.stdout
            assert [one["node_status"] for one in api.data("/nodes")] == ["Running", "Running", "Stopped"]
        finally:
            os.kill(stopped, signal.SIGCONT)
        wait_for(lambda: status()[2]["answers"], "worker 3")
