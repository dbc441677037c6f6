"""A thousand brokers leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import Future, wait
from pathlib import Path

import pytest

from pybroker.broker.app import App
from pybroker.broker.testing import running
from pybroker.broker.transport.errors import ListenError
from pybroker.testing import TestBroker
from tests.waiting import DEADLINE

from .support import dial, paho_client


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


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="sees in /proc whether threads sleep")
def test_a_client_that_stays_keeps_the_broker_from_stopping_no_longer_than_it_takes_to_see_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "GRACE", 10 * DEADLINE)
    broker = TestBroker().start()
    with paho_client(broker, "forgetful"), pytest.warns(UserWarning, match="left connected: forgetful"):
        broker.stop()


def test_a_client_that_is_about_to_disconnect_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """While its thread has something to do, be it for longer than the looks are apart."""
    monkeypatch.setattr(running, "GRACE", 10 * DEADLINE)

    def think_and_disconnect() -> None:
        end = time.thread_time() + 5 * running.LOOK_AGAIN * running.IDLE_LOOKS
        while time.thread_time() < end:
            pass
        connection.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        broker = TestBroker().start()
        with dial(broker) as connection:
            thread = threading.Thread(target=think_and_disconnect)
            thread.start()
            broker.stop()
            thread.join()


def test_a_disconnect_that_another_thread_sends_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GRACE", 10 * DEADLINE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            broker = TestBroker().start()
            with paho_client(broker) as client:
                client.disconnect()
                broker.stop()


def test_clients_of_other_processes_have_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "other_threads_sleep", lambda: pytest.fail("looked at this process"))
    broker = TestBroker().start()
    broker.running.clients_are_here = False
    with dial(broker), pytest.warns(UserWarning, match="left connected: dev"):
        broker.stop()


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_is_said(port: int) -> None:
    with pytest.raises(ListenError, match=f"listener tcp: there is no port {port}; they go from 1 to 65535"):
        TestBroker(port=port).start()


def test_a_port_that_is_taken_is_said_and_nothing_stays() -> None:
    with TestBroker() as first:
        before = threading.active_count()
        with pytest.raises(ListenError, match=f"port {first.port}"):
            TestBroker(port=first.port).start()
        assert threading.active_count() == before


@pytest.fixture
def warm() -> None:
    """What the first broker of a process opens for good is open."""
    with TestBroker():
        pass


@pytest.mark.usefixtures("warm")
def test_a_broker_that_does_not_come_up_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "START_TIMEOUT", 0.1)
    monkeypatch.setattr(App, "start", lambda _: asyncio.Event().wait())
    files, threads = open_files(), threading.active_count()
    broker = TestBroker()
    with pytest.raises(TimeoutError):
        broker.start()
    assert threading.active_count() == threads
    assert open_files() <= files
    broker.stop()  # harmless


@pytest.mark.usefixtures("warm")
def test_a_start_that_is_interrupted_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    result = Future.result

    def interrupted(future: Future[None], timeout: float | None = None) -> None:
        if threading.current_thread() is not threading.main_thread():
            return result(future, timeout)  # the broker's own
        wait([future], DEADLINE)
        raise KeyboardInterrupt

    files, threads = open_files(), threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(Future, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            TestBroker().start()
    assert threading.active_count() == threads
    assert open_files() <= files


def test_a_second_start_has_no_effect() -> None:
    with TestBroker() as broker:
        port, threads = broker.port, threading.active_count()
        assert broker.start() is broker
        assert (broker.port, threading.active_count()) == (port, threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of threads, which Python 3.12 knows to have
def test_a_forked_process_is_told_that_the_broker_is_not_its_own() -> None:
    reading, writing = os.pipe()
    with TestBroker() as broker:
        child = os.fork()
        if not child:
            signal.alarm(int(DEADLINE))
            try:
                broker.stop()  # harmless
                broker.publish("a", "x")
            except RuntimeError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        os.close(writing)
        with os.fdopen(reading) as told:
            assert told.read().startswith("the test broker is not running in this process")
        broker.publish("a", "still")
        assert broker.wait_for("a", own=True).text == "still"


def test_the_port_is_free_again_at_once() -> None:
    port = 0
    for _ in range(5):
        with TestBroker(port=port) as broker:
            port = broker.port
            with dial(broker):
                pass


def test_a_script_that_forgets_to_stop_its_broker_still_ends() -> None:
    import subprocess

    script = "from pybroker.testing import TestBroker; print(TestBroker().start().port)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert int(done.stdout) > 0
    assert done.stderr == ""
