"""`system.daemon` and ``pybroker start -d``."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients import connected
from .support import wait_for
from .test_command import pybroker


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    pybroker("stop", XDG_RUNTIME_DIR=str(tmp_path))


def write(runtime: Path, conf: str, bind: str = "127.0.0.1:0") -> Path:
    path = runtime / "nanomq.conf"
    path.write_text(f'listeners.tcp {{ bind = "{bind}" }}\n{conf}')
    return path


@pytest.mark.parametrize(("conf", "flags"), [("system.daemon = true\n", ()), ("", ("-d",))])
def test_the_command_ends_once_the_broker_is_ready(runtime: Path, conf: str, flags: tuple[str, ...]) -> None:
    logs = runtime / "logs"
    path = write(runtime, f'{conf}log {{ to = [console], dir = "{logs}", file = "x.log" }}\n')
    ready = runtime / "ready"
    answer = pybroker("start", "--conf", path, "--ready-file", ready, *flags, XDG_RUNTIME_DIR=str(runtime))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1].startswith("ready")

    facts = json.loads(ready.read_text())
    assert os.getsid(facts["pid"]) != os.getsid(0)
    with connected(facts["listeners"][0]["port"], "c") as client:
        assert client.reason.value == 0

    again = pybroker("reload", XDG_RUNTIME_DIR=str(runtime))
    assert again.stdout == "the file has not changed\n"
    assert "reload: the file has not changed" in (logs / "x.log").read_text()

    stopped = pybroker("stop", XDG_RUNTIME_DIR=str(runtime))
    assert (stopped.returncode, stopped.stdout) == (0, f"stopped (pid {facts['pid']})\n")
    wait_for(lambda: not list((runtime / "pybroker").iterdir()), "its files to go")


def test_what_keeps_it_from_starting_is_told_on_the_terminal(runtime: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = write(runtime, "", f"127.0.0.1:{port}")
        answer = pybroker("start", "-d", "--conf", path, XDG_RUNTIME_DIR=str(runtime))
    assert answer.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in answer.stderr


def test_a_bad_file_is_told_before_anything_else(runtime: Path) -> None:
    path = write(runtime, "mqtt { max_qos = 9 }\n")
    answer = pybroker("start", "-d", "--conf", path, XDG_RUNTIME_DIR=str(runtime))
    assert answer.returncode == 2
    assert "mqtt.max_qos" in answer.stderr


def test_a_log_that_cannot_be_written(runtime: Path) -> None:
    path = write(runtime, 'log { dir = "/dev/null/x" }\n')
    answer = pybroker("start", "-d", "--conf", path, XDG_RUNTIME_DIR=str(runtime))
    assert answer.returncode == 1
    assert "the log cannot be written" in answer.stderr
