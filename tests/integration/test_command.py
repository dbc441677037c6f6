"""The command line, as its user sees it."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from pybroker.broker import __version__
from pybroker.broker.packets import decoder
from tests.waiting import DEADLINE

from .clients import connected
from .support import ROOT, RunningBroker, wait_for

Start = Callable[..., RunningBroker]


def pybroker(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pybroker", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def test_version() -> None:
    assert pybroker("version").stdout == pybroker("--version").stdout == f"pybroker {__version__}\n"


def test_version_v_says_what_it_runs_on() -> None:
    first, *lines = pybroker("version", "-v").stdout.splitlines()
    assert first == f"pybroker {__version__}"
    found = {line[:14].strip(): line[16:] for line in lines}
    compiled = Path(decoder.__file__).suffix != ".py"
    assert found["build"].startswith("compiled (" if compiled else "plain Python")
    assert found["python"].endswith(platform.python_version())
    assert found["event loop"].split()[0] in ("uvloop", "asyncio")
    assert found["sqlite"] == sqlite3.sqlite_version
    assert found["installed in"] == str(Path(decoder.__file__).parents[2])


def test_version_v_says_why_there_is_no_uvloop(tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError('broken')\n")
    done = pybroker("version", "-v", PYTHONPATH=str(tmp_path))
    assert "asyncio (no uvloop: broken)" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("start",),
        ("check",),
        ("convert",),
        ("stop",),
        ("restart",),
        ("reload",),
        ("passwd",),
        ("run",),
        ("faults",),
        ("health",),
        ("top",),
        ("webhook",),
        ("webhook", "listen"),
        ("webhook", "test"),
        ("webhook", "dead"),
        ("webhook", "status"),
    ],
)
def test_help_is_there_for_each_command(command: tuple[str, ...]) -> None:
    answer = pybroker(*command, "--help")
    assert answer.returncode == 0
    assert answer.stdout.startswith("usage: pybroker")


def test_the_ready_file_and_the_ready_line_tell_the_port(start_broker: Start) -> None:
    broker = start_broker()
    (listener,) = broker.facts["listeners"]
    assert listener == {"name": "tcp", "type": "tcp", "host": "127.0.0.1", "port": broker.port}
    assert broker.facts["pid"] == broker.process.pid
    ready = wait_for(lambda: [x for x in broker.output.splitlines() if x.startswith("ready")], "a ready line")
    assert ready[0].endswith(f"mqtt://127.0.0.1:{broker.port}")


def test_several_listeners_each_accept(start_broker: Start) -> None:
    two = 'listeners.tcp.a { bind = "127.0.0.1:0" }\nlisteners.tcp.b { bind = "127.0.0.1:0" }\n'
    broker = start_broker(listener=two)
    ports = {one["name"]: one["port"] for one in broker.facts["listeners"]}
    assert set(ports) == {"tcp.a", "tcp.b"}
    for port in ports.values():
        with connected(port, f"client-{port}") as client:
            assert client.reason.value == 0


def test_a_port_in_use_is_one_line_and_a_status(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        conf = tmp_path / "nanomq.conf"
        conf.write_text(f'listeners.tcp.mine {{ bind = "127.0.0.1:{port}" }}')
        answer = pybroker("start", "--conf", conf, XDG_RUNTIME_DIR=str(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr == (
        f"pybroker: listener tcp.mine: port {port} on 127.0.0.1 is in use by another program; "
        "stop it, or bind another port (0 picks a free one)\n"
    )
    assert "ready" not in answer.stdout


def test_a_bad_value_binds_nothing(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text('listeners.tcp { bind = "127.0.0.1:0" }\nmqtt {\n  max_packet_size = many\n}\n')
    answer = pybroker("start", "--conf", conf, "--ready-file", tmp_path / "ready")
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"{conf}:3: mqtt.max_packet_size: ")
    assert not (tmp_path / "ready").exists()


def test_a_missing_file(tmp_path: Path) -> None:
    answer = pybroker("start", "--conf", tmp_path / "none.conf")
    assert answer.returncode == 2
    assert "none.conf" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text("mqtt { max_mqueue_len = none }")
    answer = pybroker("check", NANOMQ_CONF_PATH=str(conf))
    assert answer.returncode == 2
    assert str(conf) in answer.stderr


def test_flags_win_over_the_file(start_broker: Start) -> None:
    broker = start_broker('log { to = [file], dir = "/nowhere/at/all" }\n', "--log_stdout", "true")
    assert broker.port


def test_check_says_what_would_be_served_and_strict_minds_warnings(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text("mqtt { max_paket_size = 1MB }")
    lax, strict = pybroker("check", "--conf", conf), pybroker("check", "--conf", conf, "--strict")
    assert (lax.returncode, strict.returncode) == (0, 1)
    assert "listener tcp" in lax.stdout
    assert "max_paket_size" in lax.stdout
    assert "max_packet_size" in lax.stdout


def test_an_old_file_is_refused_and_converted(tmp_path: Path, start_broker: Start) -> None:
    old, new = tmp_path / "old.conf", tmp_path / "new.conf"
    old.write_text(
        "url=nmq-tcp://127.0.0.1:0\nparallel=2\nallow_anonymous=false\nauth.1.login=edge\nauth.1.password=s3cret\n"
    )
    refused = pybroker("start", "--conf", old)
    assert refused.returncode == 2
    assert f"`pybroker convert {old} > new.conf`" in refused.stderr
    assert f"{old}:3: allow_anonymous: an old key; write auth.allow_anonymous" in refused.stderr

    converted = pybroker("convert", old)
    assert converted.returncode == 0
    assert converted.stderr == f"{old}:2: parallel: has no effect here, left out\n"
    new.write_text(converted.stdout)
    checked = pybroker("check", "--conf", new, "--strict")
    assert checked.returncode == 0
    assert "anonymous clients refused, 1 user" in checked.stdout

    broker = start_broker(converted.stdout, listener="")
    for user, password, enters in [(None, None, False), ("edge", "wrong", False), ("edge", "s3cret", True)]:
        with connected(broker.port, "client", username=user, password=password) as client:
            assert client.reason.is_failure is not enters


def test_what_cannot_be_converted_is_one_line_and_a_status(tmp_path: Path) -> None:
    old = tmp_path / "old.conf"
    old.write_text("allow_anonymous=false\nacl.rule.1=deny everybody\n")
    answer = pybroker("convert", old)
    assert (answer.returncode, answer.stdout) == (2, "")
    first, second = answer.stderr.splitlines()
    assert first.startswith(f"{old}:2: acl.rule.1: is not JSON: ")
    assert second == "pybroker: nothing was converted"


def test_flags_of_nanomq(tmp_path: Path, start_broker: Start) -> None:
    tuning = ["-t1", "-T2", "-n3", "-s4"]
    broker = start_broker("", *tuning, "-S9", "-D5", "--http", "-p0", "--log_syslog", "false")
    assert "command line: system: accepted, without effect: num_taskq_thread" in broker.output
    wait_for(lambda: "page at http://127.0.0.1:" in broker.output, "the ready line")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-E", "none.pem"], 'command line: listeners.ssl.certfile: found "none.pem"; no such file'),
        (["--old_conf", "old.conf"], "pybroker: --old_conf: `pybroker convert old.conf > new.conf` "),
        (["--url", "1883"], "pybroker: --url 1883: write SCHEME://HOST:PORT with one of mqtt, "),
    ],
)
def test_flags_that_do_not_fit(arguments: list[str], message: str) -> None:
    answer = pybroker("start", *arguments)
    assert answer.returncode == 2
    assert message in answer.stderr


def test_stop_stops_the_one_that_is_meant(start_broker: Start) -> None:
    first, second = start_broker(), start_broker()
    runtime = str(first.conf.parent)
    assert pybroker("stop", "--pid", str(second.process.pid), XDG_RUNTIME_DIR=runtime).returncode == 1
    answer = pybroker("stop", XDG_RUNTIME_DIR=runtime)
    assert (answer.returncode, answer.stdout) == (0, f"stopped (pid {first.process.pid})\n")
    assert first.process.wait(DEADLINE) == 0
    assert second.process.poll() is None


def test_stop_without_a_broker_says_so(tmp_path: Path) -> None:
    answer = pybroker("stop", XDG_RUNTIME_DIR=str(tmp_path))
    assert (answer.returncode, answer.stderr) == (1, "pybroker: no broker is running for this user\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order(start_broker: Start, number: int) -> None:
    broker = start_broker()
    assert broker.stop(number) == 0
    output = (broker.conf.parent / "output.txt").read_text()
    assert output.endswith("stopping ...\nstopped\n")
    assert not list((broker.conf.parent / "pybroker").iterdir())


def test_the_shipped_configuration_starts(tmp_path: Path) -> None:
    answer = pybroker("check", "--conf", "conf/nanomq.conf", "--strict")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "http://127.0.0.1:8888" in answer.stdout


def test_sys_topics(start_broker: Start) -> None:
    broker = start_broker()
    with connected(broker.port, "watch") as watch:
        watch.subscribe_and_wait("$SYS/brokers/version")
        assert watch.wait()[0].payload.decode() == __version__
        watch.subscribe_and_wait("$SYS/brokers/client_status/other")
        with connected(broker.port, "other"):
            pass
        watch.wait(3)
        statuses = [json.loads(m.payload) for m in watch.received[1:]]
        assert [(s["client_id"], s["status"]) for s in statuses] == [
            ("other", "online"),
            ("other", "offline"),
        ]
        assert watch.received[1].topic == "$SYS/brokers/client_status/other"


def test_a_plugin_that_is_not_there_is_one_line_and_a_status(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text('listeners.tcp { bind = "127.0.0.1:0" }\nplugins { "no.such.Plugin" {} }\n')
    answer = pybroker("start", "--conf", conf, XDG_RUNTIME_DIR=str(tmp_path))
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert "no.such.Plugin" in answer.stderr


def test_more_open_files_than_the_system_first_allows(tmp_path: Path) -> None:
    """The soft limit is raised to the hard one: each connection takes an open file."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowered = (64, min(hard, 4096))
    code = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, {lowered})"
    ready = tmp_path / "ready"
    arguments = ["start", "--url", "mqtt://127.0.0.1:0", "--ready-file", str(ready)]
    imported = "from pybroker.broker.commands.main import main"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}; {imported}; raise SystemExit(main({arguments}))"],
        cwd=ROOT,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(ready.exists, "the broker")
        limits = Path(f"/proc/{process.pid}/limits")
        if limits.exists():  # Linux
            (line,) = [line for line in limits.read_text().splitlines() if line.startswith("Max open files")]
            assert line.split()[3:5] == [str(lowered[1])] * 2
        port = json.loads(ready.read_text())["listeners"][0]["port"]
        with ExitStack() as clients:
            for number in range(100):
                clients.enter_context(connected(port, f"client-{number}"))
    finally:
        process.terminate()
        process.wait(DEADLINE)


def test_top_shows_a_running_broker(start_broker: Start) -> None:
    broker = start_broker(
        'webhook { url = "http://127.0.0.1:9/", events = [{event = on_client_connected}] }\n'
    )
    with connected(broker.port, "lamp") as client:
        client.publish("room/light", "on", qos=1).wait_for_publish(DEADLINE)
        runtime = str(broker.conf.parent)
        answer = pybroker("top", "--once", "--interval", "0.1", XDG_RUNTIME_DIR=runtime, COLUMNS="120")
    assert answer.returncode == 0, answer.stderr
    assert "clients 1 " in answer.stdout
    assert "lamp" in answer.stdout
    assert "webhook" in answer.stdout
    assert pybroker("top", "--interval", "0", XDG_RUNTIME_DIR=runtime).returncode == 2
