"""A thousand brokers leave nothing behind."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from pathlib import Path

import pytest

from broker.testing import TestBroker
from broker.transport.errors import ListenError

from .support import dial


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_a_thousand_brokers_leave_no_thread_socket_or_task_behind() -> None:
    def one() -> None:
        with TestBroker() as broker, dial(broker):
            broker.publish("a", "x")

    def brokers() -> int:
        gc.collect()
        return sum(type(one).__name__ == "App" for one in gc.get_objects())

    one()
    left = brokers()
    files, threads = open_files(), threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a ResourceWarning is raised, and fails the test
        for _ in range(1000):
            one()
        gc.collect()
    assert open_files() <= files
    assert threading.active_count() <= threads
    assert brokers() <= left


def test_a_client_that_reads_nothing_does_not_keep_the_broker_from_stopping() -> None:
    broker = TestBroker().start()
    with dial(broker) as connection:
        connection.sendall(bytes.fromhex("82 07 0001 00 0001 61 00"))
        broker.wait_for_packet("SUBACK")
        for _ in range(50):
            broker.publish("a", b"x" * 1_000_000)
        with pytest.warns(UserWarning, match="left connected: dev"):
            broker.stop()


def test_a_port_that_is_taken_is_said_and_nothing_stays() -> None:
    with TestBroker() as first:
        before = threading.active_count()
        with pytest.raises(ListenError, match=f"port {first.port}"):
            TestBroker(port=first.port).start()
        assert threading.active_count() == before


def test_the_port_is_free_again_at_once() -> None:
    port = 0
    for _ in range(5):
        with TestBroker(port=port) as broker:
            port = broker.port
            with dial(broker):
                pass


def test_a_script_that_forgets_to_stop_its_broker_still_ends() -> None:
    import subprocess

    script = "from broker.testing import TestBroker; print(TestBroker().start().port)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert int(done.stdout) > 0
    assert done.stderr == ""
