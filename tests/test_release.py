"""What makes a release: the version, the changelog, the Pythons built for, the source distribution."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import pybroker

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- More.\n\n## [0.1.0] - 2026-01-01\n\n- All.\n"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "cut_release"))


def test_the_version_is_written_in_one_place() -> None:
    assert metadata.version("pybroker") == pybroker.__version__
    assert "version" not in PROJECT["project"]


def test_wheels_are_built_and_tests_run_for_each_python_that_is_claimed() -> None:
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
    wheels = PROJECT["tool"]["cibuildwheel"]["build"]
    assert wheels == [f"cp{version.replace('.', '')}-*" for version in PYTHONS]
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"python: \[(.*)\]", workflow)
    assert re.findall(r'"(.*?)"', matrix) == PYTHONS


def test_the_tests_of_a_wheel_are_there() -> None:
    settings = PROJECT["tool"]["cibuildwheel"]
    *_, command = settings["test-command"]
    folders = re.findall(r"tests/\S+", command)
    assert folders
    for name in [*settings["test-sources"], *folders]:
        assert (ROOT / name).exists(), name


def test_a_version_is_cut(script: dict[str, Any]) -> None:
    made = script["cut"](CHANGELOG, "0.2.0", "2026-02-03")
    assert "## [Unreleased]\n\n## [0.2.0] - 2026-02-03\n\n### Added\n\n- More.\n\n## [0.1.0]" in made
    assert script["notes"](made, "0.2.0") == "### Added\n\n- More."
    assert script["notes"](made, "0.1.0") == "- All."
    assert script["section"](made, "Unreleased") == ""


@pytest.mark.parametrize(
    ("version", "why"), [("0.1.0", "section [0.1.0] already"), ("0.3.0", "nothing under")]
)
def test_what_cannot_be_cut(script: dict[str, Any], version: str, why: str) -> None:
    text = CHANGELOG if version == "0.1.0" else script["cut"](CHANGELOG, "0.2.0", "2026-02-03")
    with pytest.raises(Exception, match=re.escape(why)):
        script["cut"](text, version, "2026-02-03")


def test_notes_of_an_unknown_version(script: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"no section \[9\.9\.9\]"):
        script["notes"](CHANGELOG, "9.9.9")


@pytest.mark.parametrize("newer", ["0.2.0", "0.1.1rc1", "0.10.0", "1.0.0a1"])
def test_a_newer_version_is_written(script: dict[str, Any], newer: str) -> None:
    text = f'"""Doc."""\n\n__version__ = "{newer}"\n'
    assert script["bumped"](text.replace(newer, "0.1.0"), newer) == text


@pytest.mark.parametrize(
    ("version", "why"),
    [("0.1.0", "not newer"), ("0.1.0rc1", "not newer"), ("0.0.9", "not newer"), ("v0.2.0", "no version")],
)
def test_no_older_version_is_written(script: dict[str, Any], version: str, why: str) -> None:
    with pytest.raises(Exception, match=why):
        script["bumped"]('__version__ = "0.1.0"\n', version)


def test_a_source_distribution_can_be_made_again_byte_by_byte(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    made = []
    for number in (1, 2):
        copy = tmp_path / f"copy-{number}"
        for name in (
            "pybroker",
            "broker",
            "webhook",
            "pyproject.toml",
            "README.md",
            "LICENSE",
            "CHANGELOG.md",
        ):
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, copy / name, symlinks=True, ignore=ignored)
            else:
                shutil.copyfile(source, copy / name)
        for path in copy.rglob("*"):
            os.utime(path, (number * 86400, number * 86400), follow_symlinks=False)
        command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", "made"]
        subprocess.run(command, cwd=copy, check=True, capture_output=True)
        (sdist,) = (copy / "made").iterdir()
        made.append(sdist.read_bytes())
    assert made[0] == made[1]
