"""mosquitto's database, brought over to ours."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from pybroker.broker.state.errors import StateError
from pybroker.broker.state.tool import bring_in, verify
from tests.harness import FOR_EVER

from .client import Keeping
from .kept import Kept

CONF = """
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {directory}/
max_inflight_messages 2
user root
"""

PUBLISHED = [
    ("a/1", b"one", 2),
    ("a/2", b"two", 1),
    ("b", b"", 2),
    ("a/3", b"four", 2),
    ("r", b"retained", 1),
]

needs_mosquitto = pytest.mark.skipif(not shutil.which("mosquitto"), reason="mosquitto is not installed")


async def made_by_mosquitto(directory: Path) -> Path:
    """The database of a mosquitto that has stopped: a session with subscriptions, messages in flight,
    messages that wait, and retained ones."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    conf = directory / "mosquitto.conf"
    conf.write_text(CONF.format(port=port, directory=directory))
    mosquitto = subprocess.Popen(["mosquitto", "-c", conf], stderr=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(60):
            while True:
                reader = Keeping("reader", 5)
                try:
                    await reader.connect(port)
                    break
                except OSError:
                    await asyncio.sleep(0.01)
        await reader.subscribe("a/+", 2)
        await reader.subscribe("b", 1)
        reader.acknowledges = False
        writer = Keeping("writer", 4)
        await writer.connect(port)
        for topic, payload, qos in PUBLISHED:
            writer.publish(topic, payload, qos, retain=topic == "r")
            await writer.until(lambda: not writer.unanswered)
        await reader.until(lambda: len(reader.messages) == 2)
        await reader.drop()
        await writer.drop()
    finally:
        mosquitto.terminate()
        await asyncio.to_thread(mosquitto.wait, 60)
    return directory / "mosquitto.db"


@needs_mosquitto
async def test_a_session_its_messages_and_retained_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = await made_by_mosquitto(tmp_path)
    state = tmp_path / "state"
    assert bring_in(state, str(file)) == 0
    assert "2 sessions, 4 messages that wait or are in flight, 1 retained messages" in capsys.readouterr().out
    assert verify(state) == 0
    kept = Kept(state)
    broker = await kept.start()
    assert broker.retained() == {"r": b"retained"}
    client = broker.connect("reader", clean_start=False, session_expiry_interval=FOR_EVER)
    assert client.connack is not None
    assert client.connack.session_present
    messages = client.messages()
    assert [(m.topic, m.payload, m.qos) for m in messages] == [
        ("a/1", b"one", 2),
        ("a/2", b"two", 1),
        ("b", b"", 1),
        ("a/3", b"four", 2),
    ]
    assert [m.dup for m in messages] == [True, True, False, False]
    broker.connect("p").publish("a/3", b"new", qos=2)
    assert client.message().payload == b"new"
    await kept.stop()
    with pytest.raises(StateError, match="has a session already; nothing was imported"):
        bring_in(state, str(file))


@needs_mosquitto
async def test_a_damaged_file(tmp_path: Path) -> None:
    file = await made_by_mosquitto(tmp_path)
    data = file.read_bytes()
    for size, text in ((20, "is cut off"), (len(data) - 1, "is damaged at byte")):
        file.write_bytes(data[:size])
        with pytest.raises(StateError, match=text):
            bring_in(tmp_path / "state", str(file))
    file.write_bytes(data[:22] + b"\x63" + data[23:])
    with pytest.raises(StateError, match="has version 99; those that can be read are 5 and 6"):
        bring_in(tmp_path / "state", str(file))
