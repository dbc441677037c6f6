"""The recipes of docs/testing.md run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pybroker.broker.config import load
from pybroker.broker.faults.fault import ACTIONS, Fault
from pybroker.broker.testing.setup import Setup

from .support import parsed
from .test_plugin import INSTALLED, PLUGIN

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"<!-- runs: (\w+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
NODE = shutil.which("node")
MOSQUITTO = shutil.which("mosquitto_pub")


def recipes(kind: str) -> list[str]:
    found = [text for name, text in RECIPES if name == kind]
    assert found
    return found


def heading(recipe: str) -> str:
    """Under which the recipe stands."""
    return re.findall(r"^## (.*)$", PAGE[: PAGE.index(recipe)], re.MULTILINE)[-1]


def pybroker_run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "pybroker", "run", *command],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize("recipe", recipes("pytest"), ids=heading)
def test_pytest(recipe: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(recipe)
    plugin = () if INSTALLED else ("-p", PLUGIN)
    result = pytester.runpytest_subprocess(*plugin, "-W", "error::pybroker.testing.ConnectionLeftBehind")
    result.assert_outcomes(passed=1)


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto_pub is not installed")
@pytest.mark.parametrize("recipe", recipes("unittest"), ids=heading)
def test_unittest(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "test_recipe.py").write_text(recipe, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-m", "unittest"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto_pub is not installed")
@pytest.mark.parametrize("recipe", recipes("sh"), ids=heading)
def test_shell(recipe: str, tmp_path: Path) -> None:
    done = pybroker_run(tmp_path, "--", "sh", "-ec", recipe)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with mqtt.js from npm."""
    npm = shutil.which("npm")
    if NODE is None or npm is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"type": "module", "private": true}', encoding="utf-8")
    install = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "mqtt@5"]
    try:
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not install mqtt within two minutes: no network?")
    if done.returncode:
        pytest.skip(f"npm could not install mqtt: {done.stderr.strip()[-200:]}")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto_pub is not installed")
@pytest.mark.parametrize("recipe", recipes("javascript"), ids=heading)
def test_javascript(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.test.mjs").write_text(recipe, encoding="utf-8")
    done = pybroker_run(tmp_path, "--", "node", "--test")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("recipe", recipes("node"), ids=heading)
def test_node(recipe: str, node_folder: Path) -> None:
    (node_folder / "recipe.test.js").write_text(recipe, encoding="utf-8")
    done = pybroker_run(node_folder, "--webhook", "on_message_publish", "--", "node", "--test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass 1" in done.stdout


@pytest.mark.parametrize("recipe", recipes("conf"), ids=heading)
def test_configuration(recipe: str, tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(recipe, encoding="utf-8")
    settings = load(conf)
    assert settings.faults is not None
    assert [fault.action for fault in settings.faults] == ["refuse", "limit"]
    assert settings.faults[1].rate == 4096


@pytest.mark.parametrize("recipe", recipes("yaml"), ids=heading)
def test_yaml(recipe: str) -> None:
    parsed = yaml.safe_load(recipe)
    assert isinstance(parsed, dict)
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    for step in parsed.get("jobs", {}).get("test", {}).get("steps", []):
        if "pybroker" in step.get("uses", ""):
            assert set(step.get("with", {})) <= set(action["inputs"])


def test_the_page_lists_every_fault_and_every_aim() -> None:
    shown = set(
        re.findall(r"^\| `(\w+)` \|", PAGE[PAGE.index("| action |") :].split("\n\n")[0], re.MULTILINE)
    )
    assert shown == set(ACTIONS)
    for name in Fault.__dataclass_fields__:
        assert name == "action" or f"{name}=" in PAGE, name


def test_the_page_lists_every_way_to_make_a_broker() -> None:
    for name in Setup.__dataclass_fields__:
        assert f"`{name}=`" in PAGE, name


def test_the_commands_of_the_page_are_ours() -> None:
    import shlex

    from pybroker.broker.commands.faults import _arguments
    from pybroker.broker.process.faults import _fault

    lines = re.findall(r"^(?:    - )?(pybroker .*)$", PAGE, re.MULTILINE)
    assert len(lines) > 8
    for line in lines:
        options = parsed(shlex.split(line)[1:])
        if getattr(options, "verb", None) == "add":
            _fault(_arguments(options))
