"""`pybroker pub` and `pybroker sub`, against a broker and against mosquitto's own programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pybroker.testing import TestBroker
from tests.waiting import DEADLINE

ROOT = Path(__file__).resolve().parents[2]
FIVE = ["-t", "a", "-m", "x", "-V", "5", "-D", "publish"]


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
    told = json.loads(done.stdout)
    assert (told["topic"], told["qos"], told["retain"], told["payload"]) == ("a", 1, 1, "kept")
    done = run("sub", mqtt_broker, "-t", "a", "-C", "1", "-F", r"%t=%p\t%l")
    assert done.stdout == b"a=kept\t4\n"
    done = run("sub", mqtt_broker, "-t", "a", "-R", "-W", "0.2")
    assert (done.returncode, done.stdout) == (27, b"")


def test_a_session_that_stays(mqtt_broker: TestBroker) -> None:
    assert run("sub", mqtt_broker, "-t", "a", "-q", "1", "-c", "-i", "s", "-W", "0.1").returncode == 27
    mqtt_broker.publish("a", "while away", qos=1)
    done = run("sub", mqtt_broker, "-t", "a", "-q", "1", "-c", "-i", "s", "-C", "1")
    assert done.stdout == b"while away\n"


def test_what_is_not_printed_stays_with_the_broker(mqtt_broker: TestBroker) -> None:
    keep = ["-t", "a", "-q", "2", "-c", "-i", "s"]
    assert run("sub", mqtt_broker, *keep, "-W", "0.1").returncode == 27
    for number in range(6):
        mqtt_broker.publish("a", str(number), qos=1 + number % 2)
    assert run("sub", mqtt_broker, *keep, "-C", "2").stdout == b"0\n1\n"
    assert run("sub", mqtt_broker, *keep, "-C", "4").stdout == b"2\n3\n4\n5\n"


def test_a_message_that_is_repeated(mqtt_broker: TestBroker) -> None:
    words = ["-t", "a", "-m", "x", "-q", "1", "--repeat", "3", "--repeat-delay", "0.05"]
    assert run("pub", mqtt_broker, *words).returncode == 0
    first, _, last = mqtt_broker.wait_for("a", count=3)
    assert last.at - first.at >= 0.1


@pytest.mark.parametrize("tls", [False, True])
def test_over_websocket(make_mqtt_broker, tls: bool) -> None:
    broker = make_mqtt_broker(ws=True, tls=tls)
    address = broker.wss if tls else broker.ws
    secure = ["--cafile", str(broker.tls.cafile)] if tls else []
    where = ["-h", address.host, "-p", str(address.port), "--ws", *secure]
    program = [sys.executable, "-m", "pybroker"]
    sub = [*program, "sub", *where, "-t", "a", "-q", "2", "-C", "2"]
    with subprocess.Popen(sub, cwd=ROOT, stdout=subprocess.PIPE) as running:
        broker.wait_for_packet("SUBACK", timeout=DEADLINE)
        large = b"x" * 1_000_000
        pub = [*program, "pub", *where, "-t", "a", "-q", "2", "-s"]
        assert subprocess.run(pub, cwd=ROOT, input=large, timeout=DEADLINE).returncode == 0
        url = f"{'wss' if tls else 'ws'}://{address.host}:{address.port}/a"
        pub = [*program, "pub", *secure, "-L", url, "-m", "by URL", "-q", "1"]
        assert subprocess.run(pub, cwd=ROOT, timeout=DEADLINE).returncode == 0
        assert running.communicate(timeout=DEADLINE)[0] == large + b"\nby URL\n"


def test_a_websocket_that_the_broker_refuses(make_mqtt_broker) -> None:
    broker = make_mqtt_broker(ws=True)
    where = ["-h", broker.ws.host, "-p", str(broker.ws.port), "--ws", "--ws-path", "/elsewhere"]
    words = [sys.executable, "-m", "pybroker", "pub", *where, "-t", "a", "-m", "x"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1
    assert "the broker accepts no WebSocket here" in done.stderr
    assert "404" in done.stderr


def test_a_pause_between_lines(mqtt_broker: TestBroker) -> None:
    words = command("pub", mqtt_broker, "-t", "l", "-l", "-k", "1")
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE) as pub:
        assert pub.stdin is not None
        mqtt_broker.wait_for_packet("PINGREQ", count=4, timeout=DEADLINE)
        pub.stdin.write(b"late\n")
        pub.stdin.close()
        assert pub.wait(DEADLINE) == 0
    assert mqtt_broker.wait_for("l").text == "late"


@pytest.mark.filterwarnings("ignore::pybroker.testing.ConnectionLeftBehind")
def test_a_broker_that_ends_before_the_next_line(make_mqtt_broker) -> None:
    broker = make_mqtt_broker()
    words = command("pub", broker, "-t", "l", "-l", "-d")
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as pub:
        assert pub.stdin is not None
        assert pub.stderr is not None
        assert pub.stderr.readline().startswith(b"connected to ")
        broker.stop()
        told = b""
        for _ in range(1000):  # until the end of the connection has arrived
            try:
                pub.stdin.write(b"lost\n")
                pub.stdin.flush()
            except BrokenPipeError:
                break
            if (told := pub.stderr.readline()) and not told.startswith(b"published"):
                break
        with suppress(BrokenPipeError):
            pub.stdin.close()
        assert pub.wait(DEADLINE) == 1
        assert told.startswith(b"pybroker: ")
        assert b"Traceback" not in pub.stderr.read()


def test_bytes_that_are_no_text(mqtt_broker: TestBroker) -> None:
    words = [os.fsencode(word) for word in command("pub", mqtt_broker, "-t", "a", "-m")]
    assert subprocess.run([*words, b"\xff\xfe"], cwd=ROOT, timeout=DEADLINE).returncode == 0
    assert mqtt_broker.wait_for("a").payload == b"\xff\xfe"


@pytest.mark.parametrize(
    ("name", "arguments", "status", "told"),
    [
        ("pub", ["-m", "x"], 2, "-t TOPIC is missing"),
        ("pub", ["-t", "a"], 2, "the payload is missing"),
        ("pub", ["-t", "a/#", "-m", "x"], 2, "wildcards"),
        ("pub", ["-t", "a", "-m", "x", "-D", "publish", "content-type", "t"], 2, "-D needs -V 5"),
        ("pub", ["-m", "x", "-L", "mqtt://localhost"], 2, "-t TOPIC is missing"),
        ("pub", ["-m", "x", "-L", "mqtt://localhost/a%23"], 2, "wildcards"),
        ("pub", ["-m", "x", "-L", "mqtt://localhost:99999/a"], 2, "out of range"),
        ("pub", ["-m", "x", "-L", "http://localhost/a"], 2, "write mqtt://HOST:PORT/TOPIC"),
        ("pub", ["-t", "a", "-m", "x", "-p", "99999"], 2, "99999 is not a number from 1 to 65535"),
        ("pub", ["-t", "a", "-m", "x", "-k", "70000"], 2, "70000 is not a number from 0 to 65535"),
        ("pub", ["-t", "a", "-f", "/no/such"], 2, "-f /no/such: No such file"),
        ("pub", ["-t", "a", "-m", "x", "--cafile", "/no/such"], 2, "--cafile /no/such: No such file"),
        ("pub", ["-t", "a", "-m", "x", "--cert", "c.pem"], 2, "add --cafile FILE"),
        ("pub", ["-t", "a", "-m", "x", "--insecure"], 2, "add --cafile FILE"),
        ("pub", ["-t", "a", "-m", "x", "-P", "secret"], 2, "-P needs -u NAME"),
        ("pub", ["-t", "a", "-m", "x", "--will-topic", "a/#"], 2, "wildcards"),
        ("pub", ["-t", "a", "-m", "x", "--will-payload", "gone"], 2, "--will-topic TOPIC is missing"),
        ("pub", [*FIVE, "message-expiry-interval", "-1"], 2, "-1 does not fit"),
        ("pub", [*FIVE, "message-expiry-interval", "soon"], 2, '"soon"'),
        ("pub", [*FIVE, "colour", "red"], 2, "NAME is one of content-type"),
        ("sub", ["-L", "mqtt://localhost"], 2, "-t FILTER is missing"),
        ("sub", ["-t", "a", "-C", "0"], 2, "0 is not a number from 1"),
        ("sub", ["-t", "a", "-W", "-1"], 2, "-1 is not a time above 0"),
        ("sub", [], 2, "-t FILTER is missing"),
        ("sub", ["-t", "a#"], 2, "whole last level"),
        ("sub", ["-t", "a", "-c"], 2, "-c needs -i ID"),
        ("sub", ["-t", "a", "-F", "%y"], 2, '-F "%y": %y is not known'),
        ("sub", ["-t", "a", "-F", "%p", "-v"], 2, "leave out -v"),
        ("pub", ["-t", "a", "-l", "--repeat", "2"], 2, "--repeat is not for -l"),
        ("pub", ["-t", "a", "-m", "x", "--repeat-delay", "1"], 2, "--repeat-delay needs --repeat N"),
        ("pub", ["-t", "a", "-m", "x", "--repeat", "2", "--repeat-delay", "-1"], 2, "at least 0"),
        ("pub", ["-t", "a", "-m", "x", "--ws-path", "/mqtt"], 2, "add --ws, or -L ws://..."),
        ("pub", ["-t", "a", "-m", "x", "--ws", "--ws-path", "mqtt"], 2, "a path begins with /"),
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
    assert done.stderr == f"pybroker: nothing listens at 127.0.0.1:{unused_tcp_port}\n"


def test_a_host_that_does_not_exist() -> None:
    words = [sys.executable, "-m", "pybroker", "pub", "-h", "no-such-host.invalid", "-t", "a", "-m", "x"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1
    assert done.stderr.startswith("pybroker: no-such-host.invalid:1883 cannot be reached: ")
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
