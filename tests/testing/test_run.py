"""`pybroker run` and `pybroker faults`, as commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pybroker.broker.testing import run as testing_run
from pybroker.testing import Fault

from .support import parsed

ROOT = Path(__file__).resolve().parents[2]
PYBROKER = [sys.executable, "-m", "pybroker"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Out of the way of other brokers of this user."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    return {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path):
    """Runs a Python script by `pybroker run`."""

    def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [*PYBROKER, "run", *options, "--", sys.executable, "-c", script]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path
        )

    return run


CLIENT = """
import json, os, subprocess, sys
import paho.mqtt.client as paho

client = paho.Client(paho.CallbackAPIVersion.VERSION2, "dev")
client.reconnect_delay_set(1, 1)
client.connect(os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"]))
client.loop_start()

def publish(topic, payload="x"):
    client.publish(topic, payload, qos=1).wait_for_publish(10)

def webhooks():
    with open(os.environ["WEBHOOK_LOG"]) as log:
        return [json.loads(line) for line in log]

def faults(*arguments):
    command = [sys.executable, "-m", "pybroker", "faults", *arguments]
    return subprocess.run(command, capture_output=True, text=True)
"""


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_is_the_commands_own(run, status: int) -> None:
    done = run(f"import os; print(os.environ['MQTT_URL']); raise SystemExit({status})")
    assert done.returncode == status
    assert done.stdout.startswith("mqtt://127.0.0.1:")
    assert (done.stderr == "") is (status == 0)


def test_webhooks_are_logged(run, tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(
        'webhook { url = "http://192.0.2.1/hook", headers.x-token = "t", '
        'events = [{ event = on_message_publish, topic = "a/#" }] }',
        encoding="utf-8",
    )
    script = """
publish("a/b", "hello"); publish("b", "not this")
import time
while not webhooks(): time.sleep(0.01)
print(json.dumps(webhooks()))
"""
    done = run(CLIENT + script, "--conf", str(conf))
    assert done.returncode == 0, done.stderr
    [entry] = json.loads(done.stdout)
    assert entry["url"] == "http://192.0.2.1/hook"
    assert entry["headers"]["x-token"] == "t"
    assert entry["body"]["payload"] == "hello"
    assert (entry["status"], entry["error"]) == (200, "")


def test_the_log_has_the_last_events_too(run, tmp_path: Path) -> None:
    conf, log = tmp_path / "nanomq.conf", tmp_path / "log.jsonl"
    conf.write_text(
        'webhook { url = "http://192.0.2.1/hook", events = [{ event = on_message_publish }], '
        "batch { size = 100, time = 300ms } }",  # what is posted waits for more
        encoding="utf-8",
    )
    done = run(CLIENT + "publish('a')", *("--conf", str(conf), "--webhook-log", str(log)))
    assert done.returncode == 0, done.stderr
    [line] = log.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["body"][0]["topic"] == "a"


def test_health_from_within(run) -> None:
    done = run(
        CLIENT + "command = [sys.executable, '-m', 'pybroker', 'health']\n"
        "print(subprocess.run(command, capture_output=True, text=True).stdout, os.environ['MQTT_URL'])"
    )
    told, url = done.stdout.splitlines()
    assert told == f"1 clients on{url}"


def test_the_log_is_kept_where_asked(run, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    done = run(
        CLIENT + "publish('a')\nimport time\nwhile not webhooks(): time.sleep(0.01)",
        *("--webhook", "on_message_publish", "--webhook-log", str(log)),
    )
    assert done.returncode == 0, done.stderr
    [line] = log.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["body"]["topic"] == "a"


def test_other_listeners_have_variables_too(run) -> None:
    done = run(
        "import os, ssl; ssl.create_default_context(cafile=os.environ['MQTT_CA_FILE']);"
        "print(*(os.environ[f'MQTT_{k}_URL'] for k in ('TLS', 'WS', 'WSS')))",
        *("--tls", "--ws"),
    )
    assert done.returncode == 0, done.stderr
    assert [url.split(":")[0] for url in done.stdout.split()] == ["mqtts", "ws", "wss"]


def test_faults_from_within(run) -> None:
    script = """
print(faults("list").stdout, end="")
print(faults("add", "drop", "packet=PUBACK", "times=1").stdout, end="")
print(faults("add", "close", "packet=PUBACK", "times=1").stdout, end="")
publish("a")
print(faults("list").stdout, end="")
print(faults("remove", "1").stdout, end="")
wrong = faults("remove", "1")
print(wrong.returncode, wrong.stderr, end="")
print(faults("clear").stdout, faults("list").stdout, end="")
print(faults("restart", "--lose-state").returncode)
"""
    done = run(CLIENT + script)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "no faults",
        "1  drop packet=PUBACK times=1",
        "2  close packet=PUBACK times=1",
        "1  drop packet=PUBACK times=1  (struck 1 times)",
        "2  close packet=PUBACK times=1  (struck 1 times)",
        "1 pybroker: there is no fault 1",
        " no faults",
        "0",
    ]


def test_amounts_are_written_as_in_a_configuration(run) -> None:
    script = """
for arguments in (
    ["add", "limit", "rate=4KB"],
    ["add", "latency", "seconds=200ms", "jitter=0.1"],
    ["add", "cut", "after_bytes=1KB"],
    ["add", "delay", "seconds=soon"],
    ["add", "delay", "seconds=nan"],
    ["add", "drop", "action=close"],
    ["restart", "--seconds", "-1"],
    ["restart", "--seconds", "10ms"],
):
    done = faults(*arguments)
    print(done.returncode, done.stdout + done.stderr, end="" if done.stdout + done.stderr else "\\n")
"""
    done = run(CLIENT + script)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "0 1  limit rate=4096",
        "0 2  latency seconds=0.2 jitter=0.1",
        "0 3  cut after_bytes=1024",
        '1 pybroker: seconds = "soon": write a number',
        "1 pybroker: seconds = nan is not a finite number",
        '1 pybroker: "action=close": write KEY=VALUE, such as packet=PUBACK',
        "1 pybroker: seconds = -1.0 is less than 0",
        "0 ",
    ]


def test_the_help_of_faults_says_what_each_may_have(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(["faults", "add", "--help"])
    told = capsys.readouterr().out
    assert "  latency      seconds [jitter] [client] [direction] [seed]\n" in told
    keys = told.split("\n\n", 3)[3]
    assert all(name in keys for name in Fault.__dataclass_fields__ if name != "action")


@pytest.mark.parametrize(
    ("options", "command", "status", "message"),
    [
        ([], ["no-such-command"], 127, "pybroker: no-such-command: there is no such command"),
        ([], ["/"], 126, "pybroker: /: Permission denied"),
        (["--conf", "missing.conf"], ["true"], 2, "missing.conf"),
        (["--webhook", "on_lunch"], ["true"], 2, '"on_lunch" is not an event'),
        (["--port", "65536"], ["true"], 2, "pybroker: listener tcp: there is no port 65536"),
        ([], [], 2, "the command to run is missing"),
    ],
)
def test_what_cannot_be_run(
    environment: dict[str, str], options: list[str], command: list[str], status: int, message: str
) -> None:
    done = subprocess.run(
        [*PYBROKER, "run", *options, "--", *command],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_goes_to_the_command(environment: dict[str, str], number: int) -> None:
    script = "import time; print('ready', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [*PYBROKER, "run", "--", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    process.stdout.close()
    assert list(Path(environment["XDG_RUNTIME_DIR"]).rglob("*.*")) == []


def test_a_signal_that_comes_while_the_command_is_being_started_goes_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Signalled(subprocess.Popen):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            signal.raise_signal(signal.SIGTERM)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", Signalled)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("it did not reach the command"))
    try:
        assert testing_run._run(command, dict(os.environ)) == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_that_is_ignored_is_ignored_by_the_command_too(environment: dict[str, str]) -> None:
    script = "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    command = [*PYBROKER, "run", "--", sys.executable, "-c", script]
    shell = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command]
    done = subprocess.run(shell, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "True\n"


def test_ctrl_c_is_left_to_the_command(environment: dict[str, str]) -> None:
    script = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(5))
print("ready", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen(
        [*PYBROKER, "run", "--", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(30) == 5
    process.stdout.close()


def test_a_broker_that_was_not_made_for_faults_refuses_them(
    environment: dict[str, str], tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    conf = tmp_path / "nanomq.conf"
    for text, status, answer in (
        ("", 1, "add `faults {}` to its configuration"),
        (
            "faults { rules = [ { action = drop, packet = pingreq, seconds = 0 } ] }",
            None,
            "drop has no key seconds",
        ),
        (
            "faults { rules = [ { action = delay, packet = pingreq, seconds = 50ms } ] }",
            0,
            "1  delay packet=PINGREQ",
        ),
    ):
        conf.write_text(f'listeners.tcp.bind = "127.0.0.1:0"\n{text}', encoding="utf-8")
        process = subprocess.Popen(
            [*PYBROKER, "start", "--conf", str(conf), "--ready-file", str(ready)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        while (line := process.stdout.readline()) and not line.startswith("ready"):
            pass
        if status is None:
            _, told = process.communicate(timeout=30)
            assert process.returncode == 2
            assert f"{conf}:2: faults.rules[0]: {answer}" in told
            continue
        done = subprocess.run([*PYBROKER, "faults", "list"], capture_output=True, text=True, env=environment)
        process.terminate()
        process.communicate(timeout=30)
        assert done.returncode == status
        assert answer in done.stdout + done.stderr


def test_no_broker_to_break(environment: dict[str, str]) -> None:
    done = subprocess.run([*PYBROKER, "faults", "list"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr == "pybroker: no broker is running for this user\n"


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto's clients are not installed")
def test_a_client_written_in_c(environment: dict[str, str]) -> None:
    shell = 'mosquitto_pub -h "$MQTT_HOST" -p "$MQTT_PORT" -t a -m hi -q 2'
    done = subprocess.run([*PYBROKER, "run", "--", "sh", "-c", shell], env=environment, timeout=60)
    assert done.returncode == 0


def test_the_report_where_the_command_fails(run) -> None:
    done = run(CLIENT + "publish('a/b'); raise SystemExit(3)")
    assert done.returncode == 3
    assert "ended with 3. What the broker saw last:" in done.stderr
    assert "PUBLISH" in done.stderr


def test_users_and_a_virtual_clock(run) -> None:
    script = """
import urllib.request
def ask(call, **values):
    data = json.dumps(values).encode()
    return json.load(urllib.request.urlopen(os.environ["PYBROKER_CONTROL"] + "/" + call, data, timeout=60))
try:
    publish("a")  # without a password
except RuntimeError:
    pass
assert ask("wait_for_packet", type="CONNACK")
ask("advance", seconds=3600)
print(json.load(urllib.request.urlopen(os.environ["PYBROKER_CONTROL"] + "/messages", timeout=60)))
"""
    done = run(CLIENT + script, "--user", "ann:xyzzy", "--virtual-clock")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
