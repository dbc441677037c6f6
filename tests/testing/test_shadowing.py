"""Projects whose own modules are named like folders of this source tree: `pybroker` is the one name taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .test_plugin import INSTALLED, PLUGIN

pytestmark = pytest.mark.skipif(not INSTALLED, reason="pybroker is not installed here: pip install -e .")

THEIRS = {
    "broker.py": "NAME = 'their broker'\n",
    "webhook/__init__.py": "NAME = 'their webhook'\n",
    "webhook/settings.py": "NAME = 'their settings'\n",
    "conf/__init__.py": "NAME = 'their conf'\n",
    "scripts/__init__.py": "NAME = 'their scripts'\n",
    "events.py": "NAME = 'their events'\n",
}
TEST = """
import broker, conf, events, scripts, webhook, webhook.settings

def test_both(mqtt_broker):
    from pybroker.testing import TestBroker

    assert isinstance(mqtt_broker, TestBroker)
    mqtt_broker.publish("a", "x")
    assert mqtt_broker.wait_for("a", own=True).text == "x"
    assert [module.NAME.split()[0] for module in (broker, conf, events, scripts, webhook)] == ["their"] * 5
    assert webhook.settings.NAME == "their settings"

def test_webhooks(make_mqtt_broker):
    broker = make_mqtt_broker(webhooks=["on_message_publish"])
    broker.publish("a", "x")
    broker.wait_for_webhook("message_publish")
"""


@pytest.fixture(params=["tests/test_theirs.py", "test_theirs.py"])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """With its tests in a folder, which may be a package, or beside its modules."""
    files = {**THEIRS, request.param: TEST, "pytest.ini": "[pytest]\npythonpath = .\n"}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    if request.param.startswith("tests/"):
        (tmp_path / "tests" / "__init__.py").touch()
    return tmp_path


@pytest.mark.parametrize(
    "command", [["-m", "pytest"], ["-c", "import pytest; raise SystemExit(pytest.main())"]]
)
def test_their_names_are_theirs(project: Path, command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_command_in_such_a_project(project: Path) -> None:
    command = [sys.executable, "-m", "pybroker", "run", "--webhook", "on_client_connected", "--", "true"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_plugin_is_in_the_one_package() -> None:
    assert PLUGIN.split(".")[0] == "pybroker"
