"""What is installed: one import package, whole, from a wheel and from a source distribution alike."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    f"pybroker/{path.relative_to(ROOT)}"
    for top in ("broker", "webhook")
    for path in (ROOT / top).rglob("*")
    if path.is_file() and path.suffix in {".py", ".json", ".html", ".css", ".js", ".svg"}
} | {"pybroker/py.typed", "pybroker/testing.py"}

pytest.importorskip("hatchling")


def build(target: str, source: Path, into: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (made,) = into.iterdir()
    return made


def wheel_files(wheel: Path) -> set[str]:
    return {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def test_a_wheel_has_one_package_with_all_sources(wheel: Path) -> None:
    files = wheel_files(wheel)
    assert {name.split("/")[0] for name in files} == {"pybroker"}
    assert files >= SOURCES


def test_a_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert wheel_files(build("wheel", source, tmp_path / "wheel")) == wheel_files(wheel)
