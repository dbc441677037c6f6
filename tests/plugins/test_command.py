"""Plugins that a configuration file names, in a broker that runs as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..integration.clients import connected
from ..integration.support import ROOT, RunningBroker, wait_for

PLUGIN = """
from dataclasses import dataclass
from pathlib import Path
from amqtt.plugins.base import BasePlugin

class Diary(BasePlugin):
    @dataclass
    class Config:
        path: str

    def write(self, line):
        with Path(self.config.path).open("a") as diary:
            print(line, file=diary)

    async def on_broker_post_start(self):
        await self.context.retain_message("greeting", b"from the plugin")
        self.write("started")

    async def on_broker_client_connected(self, client_id, client_session):
        self.write(f"{client_id} is {client_session.username}")

    async def on_broker_post_shutdown(self):
        self.write("stopped")
"""

LISTENER = 'listeners.tcp { bind = "127.0.0.1:0" }\n'


@pytest.fixture
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "house_plugins.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return tmp_path / "diary.txt"


def test_plugins_of_a_configuration_file(tmp_path: Path, diary: Path) -> None:
    conf = f"""
        auth {{ allow_anonymous = false, password = {{ include "users.conf" }} }}
        plugins {{
          "house_plugins.Diary" {{ path = "{diary}" }}
          "amqtt.plugins.logging_amqtt.EventLoggerPlugin" {{ }}
        }}
    """
    (tmp_path / "users.conf").write_text("ada : secret\n")
    broker = RunningBroker(tmp_path, LISTENER + conf)
    try:
        with connected(broker.port, "c", username="ada", password="secret") as client:
            client.subscribe("greeting")
            assert client.wait()[0].payload == b"from the plugin"
        with connected(broker.port, "d", username="ada", password="wrong") as refused:
            assert refused.reason.is_failure
        wait_for(lambda: "on_broker_client_disconnected" in broker.output, "the event in the log")
    finally:
        assert broker.stop() == 0
    assert diary.read_text().splitlines() == ["started", "c is ada", "stopped"]


def test_a_plugin_that_cannot_be_loaded_is_one_line(tmp_path: Path, diary: Path) -> None:
    (tmp_path / "nanomq.conf").write_text(LISTENER + 'plugins { "house_plugins.Dairy" { path = "x" } }')
    done = subprocess.run(
        [sys.executable, "-m", "pybroker", "start", "--conf", str(tmp_path / "nanomq.conf")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert done.returncode != 0
    [line] = [line for line in done.stderr.splitlines() if line]
    assert 'plugins: house_plugins.Dairy cannot be imported: Module "house_plugins" does not define' in line
