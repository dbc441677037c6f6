"""`pybroker state`, and test brokers that have a state on disk."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from pybroker.broker.commands.main import main
from pybroker.broker.state.database import MIGRATIONS, StateDatabase
from pybroker.testing import TestBroker

VERSIONS = Path(__file__).parent / "versions"


def filled(path: Path) -> None:
    with TestBroker(state=path) as broker:
        subscribe(broker, "reader", "a/#")
        broker.publish("a/b", b"\xff", qos=1, retain=True)
        broker.publish("a/c", b"two", qos=1)


def subscribe(broker: TestBroker, client_id: str, topic: str) -> None:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, clean_session=False)
    client.connect(broker.host, broker.port)
    client.loop_start()
    granted = threading.Event()
    client.on_subscribe = lambda *_: granted.set()
    client.subscribe(topic, qos=1)
    assert granted.wait(60)
    client.disconnect()
    client.loop_stop()


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main(["state", *map(str, arguments)])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path)
    status, out, _ = run(capsys, "show", "--dir", tmp_path)
    assert status == 0
    assert "1  sessions\n" in out
    assert "2  messages that wait or are in flight\n" in out
    assert "1  retained messages\n" in out
    status, out, _ = run(capsys, "show", "--dir", tmp_path, "reader")
    assert status == 0
    assert "subscription  a/#, QoS 1\nwaits         a/b, QoS 1, 1 bytes\nwaits         a/c" in out
    assert run(capsys, "show", "--dir", tmp_path, "nobody")[::2] == (
        1,
        "pybroker: there is no session of nobody\n",
    )


def test_a_running_broker_can_be_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with TestBroker(state=tmp_path):
        assert run(capsys, "show", "--dir", tmp_path)[0] == 0
        status, _, err = run(capsys, "import", "--dir", tmp_path, tmp_path / "x")
        assert status == 1
        assert "another process uses it" in err


def test_what_is_exported_can_be_imported_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, dump = tmp_path / "one", tmp_path / "two", tmp_path / "dump.jsonl"
    filled(one)
    assert run(capsys, "export", "--dir", one, dump)[0] == 0
    lines = [json.loads(line) for line in dump.read_text().splitlines()]
    assert [line["kind"] for line in lines] == [
        "pybroker state",
        "session",
        "subscription",
        "message",
        "entry",
        "message",
        "entry",
        "retained",
    ]
    with TestBroker(state=two) as broker:
        subscribe(broker, "other", "b")
    status, out, _ = run(capsys, "import", "--dir", two, dump)
    assert (status, out) == (0, "2 sessions, 2 messages that wait or are in flight, 1 retained messages\n")
    assert run(capsys, "verify", "--dir", two)[:2] == (0, "no faults found\n")
    with TestBroker(state=two) as broker:
        assert broker.retained["a/b"].payload == b"\xff"
        assert set(broker.sessions) == {"reader", "other"}
    status, _, err = run(capsys, "import", "--dir", two, dump)
    assert status == 1
    assert "line 2: the client reader has a session already; nothing was imported" in err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"kind": "pybroker state", "version": 99}', "this is not a dump of pybroker's state"),
        ("nonsense", "line 1 cannot be read"),
    ],
)
def test_a_file_that_is_no_dump(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, text: str
) -> None:
    dump = tmp_path / "dump"
    dump.write_text(line)
    status, _, err = run(capsys, "import", "--dir", tmp_path / "state", dump)
    assert status == 1
    assert text in err
    assert "nothing was imported" in err


def test_verify_finds_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path)
    db = sqlite3.connect(tmp_path / "pybroker.db")
    db.execute("DELETE FROM session")
    db.execute("UPDATE retained SET flags = 40, wire = x'30'")
    db.commit()
    db.close()
    status, out, _ = run(capsys, "verify", "--dir", tmp_path)
    assert status == 1
    assert out == (
        "2 entries of no session\n1 subscriptions of no session\n1 retained messages cannot be read\n"
    )


def test_a_directory_without_a_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "show", "--dir", tmp_path)
    assert (status, err) == (1, f"pybroker: {tmp_path}: there is no pybroker.db\n")


def test_a_restart_of_the_test_broker_goes_over_the_disk(tmp_path: Path) -> None:
    with TestBroker(state=tmp_path) as broker:
        subscribe(broker, "reader", "a/#")
        before = broker.running.engine.sessions.get("reader")
        broker.publish("a/b", b"one", qos=1, retain=True)
        broker.restart(keep_state=True)
        after = broker.running.engine.sessions.get("reader")
        assert after is not before
        assert after is not None
        assert after.queue is not None
        assert len(after.queue) == 1
        assert broker.retained["a/b"].payload == b"one"
        broker.restart(keep_state=False)
        assert "reader" not in broker.running.engine.sessions
    with TestBroker(state=tmp_path) as broker:
        assert "reader" not in broker.running.engine.sessions


LEFT: list[tuple[dict[int, bytes], list[bytes]]] = [
    ({}, [b"\xff", b"two"]),
    ({7: b"two"}, [b"\xff", b"three"]),
    ({7: b"two"}, [b"\xff", b"three"]),
]
"""What the file of each version has for the client: in flight, and waiting."""


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_a_file_of_each_version_is_read(tmp_path: Path, version: int) -> None:
    db = sqlite3.connect(tmp_path / "pybroker.db")
    db.executescript((VERSIONS / f"{version}.sql").read_text(encoding="utf-8"))
    db.execute(f"PRAGMA user_version = {version}")
    db.close()
    with TestBroker(state=tmp_path) as broker:
        session = broker.running.engine.sessions.get("reader")
        assert session is not None
        assert list(session.subscriptions) == ["a/#"]
        assert session.queue is not None
        sent = {packet_id: m.publish.payload for packet_id, m in session.inflight.messages.items()}
        waits = [m.publish.payload for m in session.queue.messages()]
        assert (sent, waits) == LEFT[version - 1]
        assert bool(broker.running.engine.bans) is (version >= 3)
        assert broker.retained["a/b"].payload == b"\xff"
    database = StateDatabase(tmp_path / "pybroker.db")
    assert database.faults() == []
    database.close()
