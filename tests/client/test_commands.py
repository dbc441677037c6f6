"""`pybroker pub` and `pybroker sub`, against a broker and against mosquitto's own programs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pybroker.testing import TestBroker

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0


def command(name: str, broker: TestBroker, *arguments: str) -> list[str]:
    where = ["-h", broker.host, "-p", str(broker.port)]
    return [sys.executable, "-m", "pybroker", name, *where, *arguments]


def run(
    name: str, broker: TestBroker, *arguments: str, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    words = command(name, broker, *arguments)
    return subprocess.run(words, cwd=ROOT, input=given, capture_output=True, timeout=DEADLINE)


@pytest.mark.parametrize("version", ["31", "311", "5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_one_publishes_the_other_prints(mqtt_broker: TestBroker, version: str, qos: int) -> None:
    words = command("sub", mqtt_broker, "-t", "a/#", "-q", str(qos), "-v", "-C", "2", "-V", version)
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as sub:
        mqtt_broker.wait_for_packet("SUBACK", timeout=DEADLINE)
        for payload in ("hello", "hällo"):
            done = run("pub", mqtt_broker, "-t", "a/b", "-m", payload, "-q", str(qos), "-V", version)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert sub.communicate(timeout=DEADLINE)[0].decode() == "a/b hello\na/b hällo\n"
    assert sub.returncode == 0


def test_lines_files_and_nothing(mqtt_broker: TestBroker, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"\x00\xff")
    run("pub", mqtt_broker, "-t", "l", "-l", "-q", "2", given=b"one\ntwo\r\n\nlast")
    run("pub", mqtt_broker, "-t", "s", "-s", given=b"all\nof it")
    run("pub", mqtt_broker, "-t", "f", "-f", str(file), "-r")
    run("pub", mqtt_broker, "-t", "n", "-n", "-q", "1")
    payloads = [one.payload for one in mqtt_broker.wait_for("l", count=4)]
    assert payloads == [b"one", b"two", b"", b"last"]
    assert mqtt_broker.wait_for("s").payload == b"all\nof it"
    assert mqtt_broker.wait_for("n").payload == b""
    assert mqtt_broker.retained["f"].payload == b"\x00\xff"


def test_properties(mqtt_broker: TestBroker) -> None:
    words = ["-D", "publish", "content-type", "text/plain", "-D", "publish", "user-property", "a", "b"]
    assert run("pub", mqtt_broker, "-t", "a", "-m", "x", "-V", "5", *words).returncode == 0
    message = mqtt_broker.wait_for("a")
    assert message.properties.content_type == "text/plain"
    assert message.user_properties == (("a", "b"),)


def test_a_url_names_all(make_mqtt_broker) -> None:
    broker = make_mqtt_broker(users={"ann": "x:/y"})
    url = f"mqtt://ann:x%3A%2Fy@{broker.host}:{broker.port}/room/light"
    words = [sys.executable, "-m", "pybroker", "pub", "-L", url, "-m", "on", "-i", "lamp"]
    assert subprocess.run(words, cwd=ROOT, timeout=DEADLINE).returncode == 0
    message = broker.wait_for("room/light")
    assert (message.text, message.client) == ("on", "lamp")


def test_tls(make_mqtt_broker) -> None:
    broker = make_mqtt_broker(tls=True)
    where = ["-h", broker.tls.host, "-p", str(broker.tls.port)]
    words = [sys.executable, "-m", "pybroker", "pub", *where, "-t", "a", "-m", "x"]
    done = subprocess.run(
        [*words, "--cafile", str(broker.tls.cafile)], cwd=ROOT, capture_output=True, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stderr
    assert broker.wait_for("a").text == "x"


def test_json_and_retained(mqtt_broker: TestBroker) -> None:
    mqtt_broker.publish("a", "kept", retain=True, qos=1)
    done = run("sub", mqtt_broker, "-t", "a", "-C", "1", "--json", "-q", "1")
    assert json.loads(done.stdout) == {"topic": "a", "qos": 1, "retain": 1, "payload": "kept"}
    done = run("sub", mqtt_broker, "-t", "a", "-R", "-W", "0.2")
    assert (done.returncode, done.stdout) == (27, b"")


def test_a_session_that_stays(mqtt_broker: TestBroker) -> None:
    assert run("sub", mqtt_broker, "-t", "a", "-q", "1", "-c", "-i", "s", "-W", "0.1").returncode == 27
    mqtt_broker.publish("a", "while away", qos=1)
    done = run("sub", mqtt_broker, "-t", "a", "-q", "1", "-c", "-i", "s", "-C", "1")
    assert done.stdout == b"while away\n"


@pytest.mark.parametrize(
    ("name", "arguments", "status", "told"),
    [
        ("pub", ["-m", "x"], 2, "-t TOPIC is missing"),
        ("pub", ["-t", "a"], 2, "what is to be published"),
        ("pub", ["-t", "a/#", "-m", "x"], 2, "wildcards"),
        ("pub", ["-t", "a", "-m", "x", "-D", "publish", "content-type", "t"], 2, "-D needs -V 5"),
        ("sub", [], 2, "-t FILTER is missing"),
        ("sub", ["-t", "a#"], 2, "whole last level"),
        ("sub", ["-t", "a", "-c"], 2, "-c needs -i ID"),
        ("pub", ["-t", "a", "-m", "x", "-u", "ann", "-P", "wrong"], 1, "refuses the connection"),
    ],
)
def test_what_cannot_be_done(
    make_mqtt_broker, name: str, arguments: list[str], status: int, told: str
) -> None:
    broker = make_mqtt_broker(users={"ann": "right"})
    done = run(name, broker, *arguments)
    assert done.returncode == status
    assert told in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_broker_that_is_not_there(unused_tcp_port: int) -> None:
    words = [sys.executable, "-m", "pybroker", "pub", "-p", str(unused_tcp_port), "-t", "a", "-m", "x"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1
    assert f"127.0.0.1:{unused_tcp_port} cannot be reached: " in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="mosquitto_sub is not installed")
def test_beside_mosquitto(mqtt_broker: TestBroker) -> None:
    words = [
        "mosquitto_sub",
        "-h",
        mqtt_broker.host,
        "-p",
        str(mqtt_broker.port),
        "-t",
        "a",
        "-C",
        "1",
        "-q",
        "2",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as theirs:
        mqtt_broker.wait_for_packet("SUBACK", timeout=DEADLINE)
        run("pub", mqtt_broker, "-t", "a", "-m", "x", "-q", "2")
        assert theirs.communicate(timeout=DEADLINE)[0] == b"x\n"
