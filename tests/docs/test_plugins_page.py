"""docs/plugins.md: the plugins that are shown there work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from amqtt.events import BrokerEvents, MQTTEvents

from pybroker.testing import TestBroker
from tests.integration.clients import connected
from tests.testing.test_plugin import INSTALLED, PLUGIN

from .blocks import ROOT, marked, text


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the plugins of the page, and the devices that may connect."""
    for name in ("fleet.py", "census.py"):
        (tmp_path / name).write_text(marked(f"file: {name}").code)
    (tmp_path / "devices.txt").write_text("lamp-1 secret\nlamp-2 other\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("fleet", "census"):
        sys.modules.pop(name, None)


def check(folder: Path, conf: str) -> subprocess.CompletedProcess[str]:
    (folder / "nanomq.conf").write_text(conf)
    command = [sys.executable, "-m", "pybroker", "check", "--strict", "--conf", "nanomq.conf"]
    environment = {"PYTHONPATH": f"{folder}:{ROOT}", "PATH": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_the_file_is_taken_by_check(fleet: Path) -> None:
    done = check(fleet, marked("loads: fleet").code)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_setting_that_the_plugin_does_not_know_is_told(fleet: Path) -> None:
    done = check(fleet, marked("loads: fleet").code.replace("file =", "flie ="))
    assert done.returncode != 0
    assert "fleet.KnownDevices" in done.stderr


def test_who_may_connect(fleet: Path) -> None:
    with TestBroker(conf_text=marked("loads: fleet").code) as broker:
        for name, secret, accepted in (
            ("lamp-1", "secret", True),
            ("lamp-1", "other", False),
            ("lamp-3", "secret", False),
            (None, None, False),
        ):
            with connected(broker.port, "c", username=name, password=secret) as client:
                assert (client.reason.value == 0) is accepted, name


def test_the_test_of_the_page_passes(fleet: Path) -> None:
    (fleet / "test_fleet.py").write_text(marked("runs: fleet").code)
    plugin = [] if INSTALLED else ["-p", PLUGIN]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, "test_fleet.py"]
    environment = {"PYTHONPATH": f"{fleet}:{ROOT}", "PATH": ""}
    done = subprocess.run(command, cwd=fleet, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_census_counts(fleet: Path) -> None:
    with TestBroker(conf_text="plugins { census.Census {} }") as broker:
        with connected(broker.port, "here"):
            message = broker.wait_for("census", own=True, since=0)
            assert message.json() == ["here"]
        message = broker.wait_for("census", own=True, since=0, count=2)[-1]
        assert message.json() == []
        assert json.loads(broker.retained["census"].payload) == []


def test_the_program_that_embeds_it_runs() -> None:
    command = [sys.executable, "-c", marked("runs: embedded").code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.match(r"listening on \('127\.0\.0\.1', [1-9]\d*\)", done.stdout)


def test_every_event_is_on_the_page() -> None:
    told = {f"on_{event.value}" for event in (*BrokerEvents, *MQTTEvents)}
    assert set(re.findall(r"`(on_\w+[a-z])`", text("plugins.md"))) == told
