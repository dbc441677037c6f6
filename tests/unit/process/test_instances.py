"""Where the files of running brokers are, and whose they must be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pybroker.broker.commands.options import find_instance
from pybroker.broker.process import instances
from pybroker.broker.process.instances import Instance, announce, running, runtime_dir


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    base = tmp_path / "run"
    base.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    return base


def test_it_is_made_for_this_user_alone(base: Path) -> None:
    assert runtime_dir() == base / "pybroker"
    assert stat.S_IMODE((base / "pybroker").stat().st_mode) == 0o700
    assert runtime_dir() == base / "pybroker", "once more"


def test_one_that_others_can_read_is_refused(base: Path) -> None:
    (base / "pybroker").mkdir(mode=0o755)
    with pytest.raises(PermissionError, match="is open to other users; remove it, or set XDG_RUNTIME_DIR"):
        runtime_dir()


def test_a_symlink_of_ones_own_to_a_private_directory_will_do(base: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (base / "pybroker").symlink_to(private)
    announce(Instance(os.getpid(), None, [], "socket"))
    assert [one.pid for one in running()] == [os.getpid()]
    assert (private / f"{os.getpid()}.json").exists()


def test_a_symlink_to_an_open_directory_is_refused(base: Path, tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    (base / "pybroker").symlink_to(open_to_all)
    with pytest.raises(PermissionError, match="is open to other users"):
        runtime_dir()


def test_a_symlink_of_somebody_elses_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would lead to any private directory of ours, and what lies there would be read, even removed."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    link = base / "pybroker"
    link.symlink_to(private)
    if os.getuid() == 0:
        os.lchown(link, 65_534, 65_534)
    else:  # nobody but root can give a link away: so that of another user is acted
        real = Path.lstat
        facts = os.stat_result((*link.lstat()[:4], os.getuid() + 1, *link.lstat()[5:]))
        monkeypatch.setattr(Path, "lstat", lambda self: facts if self == link else real(self))
    with pytest.raises(PermissionError, match="pybroker belongs to another user; remove it, or set XDG"):
        runtime_dir()


def test_what_is_no_directory_is_named(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "pybroker").symlink_to(base / "nowhere")
    with pytest.raises(
        NotADirectoryError, match="pybroker is not a directory; remove it, or set XDG_RUNTIME_DIR"
    ):
        runtime_dir()
    assert find_instance(None, None) is None
    assert "is not a directory" in capsys.readouterr().err


def test_the_folder_for_temporary_files_serves_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(instances.tempfile, "gettempdir", lambda: str(tmp_path))
    assert runtime_dir() == tmp_path / f"pybroker-{os.getuid()}"
