"""What an operator sees of a running broker: its lines, its log, and what it says of what is in its way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import DEADLINE

from .clients import connected
from .support import ROOT, Endpoint, RunningBroker, wait_for
from .test_command import pybroker

Start = Callable[..., RunningBroker]


def test_a_reload_changes_what_is_logged_of_those_who_are_connected(
    start_broker: Start, tmp_path: Path
) -> None:
    def conf(level: str) -> str:
        return f'log {{ level = {level}, to = [file], dir = "{tmp_path}", file = "x.log" }}\n'

    broker = start_broker(conf("warn"))
    log = tmp_path / "x.log"
    with connected(broker.port, "c1") as client:
        client.publish_and_wait("a", b"1", 1)
        assert log.read_text() == ""
        broker.conf.write_text(broker.conf.read_text().replace("warn", "trace"))
        assert pybroker("reload", XDG_RUNTIME_DIR=str(broker.conf.parent)).returncode == 0
        client.publish_and_wait("b", b"2", 1)
        wait_for(lambda: "to c1 PUBACK" in log.read_text(), "what is sent")
        assert "from c1 PUBLISH b qos 1" in log.read_text()
        broker.conf.write_text(broker.conf.read_text().replace("trace", "info"))
        assert pybroker("reload", XDG_RUNTIME_DIR=str(broker.conf.parent)).returncode == 0
        client.publish_and_wait("c", b"3", 1)
    wait_for(lambda: "client c1 disconnected: normal" in log.read_text(), "the end")
    assert "PUBLISH c" not in log.read_text()


def test_the_log_of_the_background_has_start_and_stop(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(f'listeners.tcp.bind = "127.0.0.1:0"\nlog {{ dir = "{tmp_path}", file = "x.log" }}\n')
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    answer = pybroker("start", "-d", "--conf", conf, **environment)
    assert answer.returncode == 0, answer.stderr
    assert pybroker("stop", **environment).returncode == 0
    log = (tmp_path / "x.log").read_text()
    order = [log.index(words) for words in ("pybroker 0.", "ready in", "stopping ...", "stopped")]
    assert order == sorted(order)
    for line in log.splitlines():
        assert line.split()[3] == "pybroker:"


def test_why_the_background_does_not_start_is_logged_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        conf = tmp_path / "nanomq.conf"
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        conf.write_text(f'listeners.tcp.bind = "{bind}"\nlog {{ dir = "{tmp_path}", file = "x.log" }}\n')
        assert pybroker("start", "-d", "--conf", conf, XDG_RUNTIME_DIR=str(tmp_path)).returncode == 1
    assert "is in use by another program" in (tmp_path / "x.log").read_text()


def test_an_address_that_is_our_own_already(start_broker: Start, tmp_path: Path) -> None:
    broker = start_broker()
    answer = pybroker(
        "start", "--url", f"mqtt://127.0.0.1:{broker.port}", XDG_RUNTIME_DIR=str(broker.conf.parent)
    )
    assert f"port {broker.port} on 127.0.0.1 is in use by the pybroker that runs with pid " in answer.stderr
    assert str(broker.process.pid) in answer.stderr

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf = tmp_path / "twice.conf"
    conf.write_text("".join(f'listeners.tcp.{name}.bind = "127.0.0.1:{port}"\n' for name in "ab"))
    answer = pybroker("start", "--conf", conf, XDG_RUNTIME_DIR=str(tmp_path))
    assert answer.returncode != 0
    assert "tcp.a" in answer.stderr
    assert "tcp.b" in answer.stderr


def test_a_ready_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "ready.json"
    answer = pybroker(
        *("start", "--url", "mqtt://127.0.0.1:0", "--ready-file", missing), XDG_RUNTIME_DIR=str(tmp_path)
    )
    assert answer.returncode == 1
    assert (
        answer.stderr == f"pybroker: the ready file {missing} cannot be written: No such file or directory\n"
    )
    assert list((tmp_path / "pybroker").iterdir()) == []


def test_a_stop_says_what_it_waits_for(start_broker: Start, endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    events = '{ event = "on_message_publish" }'
    broker = start_broker(
        f'webhook.slow {{ url = "{endpoint.url}?token=s3cret", events = [{events}], drain_timeout = 60s }}\n'
    )
    with connected(broker.port, "c1") as client:
        client.publish_and_wait("a", b"1", 1)
    broker.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "webhook slow: 1 event to send first" in broker.output, "what it waits for")
    endpoint.gate.set()
    assert broker.process.wait(DEADLINE) == 0
    assert "INFO    pybroker: webhook slow (" in broker.output
    counters = next(line for line in broker.output.splitlines() if "matched 1 = succeeded 1" in line)
    assert "webhook slow" in counters
    assert "s3cret" not in broker.output


@pytest.mark.parametrize("errors", [subprocess.PIPE, subprocess.STDOUT])
def test_a_broker_whose_output_nobody_reads_stops_in_order(
    tmp_path: Path, endpoint: Endpoint, errors: int
) -> None:
    """As with ``| head -1``, with and without ``2>&1``."""
    conf = tmp_path / "nanomq.conf"
    events = '{ event = "on_client_disconnected" }'
    conf.write_text(
        'listeners.tcp.bind = "127.0.0.1:0"\nmqtt.propert_size = 1\n'  # a warning
        f'webhook {{ url = "{endpoint.url}", events = [{events}] }}\n'
    )
    ready = tmp_path / "ready.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "pybroker", "start", "--conf", conf, "--ready-file", ready],
        cwd=ROOT,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    assert process.stdout
    process.stdout.close()
    wait_for(lambda: ready.exists() or process.poll() is not None, "the ready file")
    with connected(json.loads(ready.read_text())["listeners"][0]["port"], "c1"):
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read().decode() if process.stderr else ""
        assert process.wait(DEADLINE) == 0
    assert "Traceback" not in said
    assert "Broken pipe" not in said
    assert [event["action"] for event in endpoint.wait(1)] == ["client_disconnected"]


@pytest.mark.parametrize("command", [("check",), ("--help",), ("version",), ("webhook", "status", "--help")])
def test_a_closed_pipe_is_no_error_to_talk_about(command: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody_reads:
        answer = subprocess.run(
            [sys.executable, "-m", "pybroker", *command],
            cwd=ROOT,
            stdout=nobody_reads,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
        )
    assert answer.stderr == b""
    assert answer.returncode == (0 if "--help" in command else 141)


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"command":' + b"[" * 100_000, b'{"command": ' + b"9" * 5000]
)
def test_nonsense_on_the_control_socket_is_answered(start_broker: Start, line: bytes) -> None:
    broker = start_broker()
    (path,) = (broker.conf.parent / "pybroker").glob("*.sock")
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(DEADLINE)
        control.connect(str(path))
        control.sendall(line + b"\n")
        with control.makefile("rb") as answers:
            assert "does not know this command" in json.loads(answers.readline())["error"]
    broker.stop()
    assert "Traceback" not in broker.output


@pytest.mark.parametrize("port", ["99999", "-1", "x", "9" * 5000])
def test_a_port_that_is_none_is_one_line(port: str) -> None:
    answer = pybroker("webhook", "listen", "--", port)
    assert answer.returncode == 2
    assert answer.stderr.splitlines()[-1].endswith(f"{port} is not a number from 0 to 65535")


def test_webhook_status_takes_the_pid_that_it_asks_for(start_broker: Start) -> None:
    broker = start_broker()
    environment = {"XDG_RUNTIME_DIR": str(broker.conf.parent)}
    answer = pybroker("webhook", "status", "--pid", str(broker.process.pid), **environment)
    assert answer.returncode == 0
    assert answer.stdout.endswith("is enabled\n")
    answer = pybroker("webhook", "status", "--pid", "1", **environment)
    assert (answer.returncode, answer.stderr) == (
        1,
        "pybroker: no broker with pid 1 is running for this user\n",
    )
