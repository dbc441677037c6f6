"""`pybroker restart`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.waiting import DEADLINE

from .clients import connected
from .support import RunningBroker
from .test_command import pybroker

Start = Callable[..., RunningBroker]


@pytest.fixture
def stops(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def facts(ready: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(ready.read_text())
    return found


def test_another_takes_its_place(start_broker: Start, stops: ExitStack) -> None:
    """Of the same file, and in the background, so that the command comes to an end."""
    before = start_broker()
    runtime, ready = str(before.conf.parent), before.conf.parent / "again.json"
    stops.callback(pybroker, "stop", XDG_RUNTIME_DIR=runtime)
    answer = pybroker(
        *("restart", "-d", "--ready-file", ready, "--log_file", before.conf.parent / "log"),
        XDG_RUNTIME_DIR=runtime,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"stopped (pid {before.process.pid})\n")
    assert before.process.wait(DEADLINE) == 0
    after = facts(ready)
    assert after["pid"] != before.process.pid
    with connected(after["listeners"][0]["port"], "client") as client:  # type: ignore[index]
        assert client.reason.value == 0
    assert f"configuration  {before.conf}" in answer.stdout


def test_one_that_could_not_start_leaves_the_other_alone(start_broker: Start) -> None:
    before = start_broker()
    runtime = str(before.conf.parent)
    for text, message in [
        ("mqtt.max_qos = 9", 'mqtt.max_qos: found "9"'),
        ('plugins { "no.such.Plugin" {} }', "plugins: no.such.Plugin cannot be imported"),
    ]:
        before.conf.write_text(text)
        answer = pybroker("restart", XDG_RUNTIME_DIR=runtime)
        assert answer.returncode == 2
        assert message in answer.stderr
        assert answer.stderr.endswith(f"the running broker (pid {before.process.pid}) continues\n")
    with connected(before.port, "client") as client:
        assert client.reason.value == 0


def test_without_a_running_one_it_starts(tmp_path: Path, stops: ExitStack) -> None:
    stops.callback(pybroker, "stop", XDG_RUNTIME_DIR=str(tmp_path))
    answer = pybroker(
        *("restart", "-d", "--url", "mqtt://127.0.0.1:0", "--log_file", tmp_path / "log"),
        XDG_RUNTIME_DIR=str(tmp_path),
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("no broker is running; starting one\n")
    assert "ready in " in answer.stdout


def test_a_process_that_is_none_is_told(tmp_path: Path) -> None:
    answer = pybroker("restart", "--pid", "1", XDG_RUNTIME_DIR=str(tmp_path))
    assert (answer.returncode, answer.stderr) == (
        1,
        "pybroker: no broker with pid 1 is running for this user\n",
    )
