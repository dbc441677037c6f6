"""`log {}`: where lines go, which, and how they read."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybroker.broker.config.settings import LogSettings
from pybroker.broker.process import log


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in log.OURS}
    root.handlers[:] = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def to_file(path: Path, **settings: object) -> LogSettings:
    return LogSettings(to=("file",), dir=path.parent, file=path.name, **settings)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "broker.log"


LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"]


@pytest.mark.parametrize("least", LEVELS)
def test_levels(file: Path, least: str) -> None:
    log.configure(to_file(file, level=least))
    for level in LEVELS:
        logging.getLogger("pybroker.x").log(log.LEVELS[level], "a line of %s", level)
    written = [line.split()[2].lower() for line in file.read_text().splitlines()]
    assert written == LEVELS[LEVELS.index(least) :]


def test_libraries_speak_up_only_when_it_matters(file: Path) -> None:
    log.configure(to_file(file, level="trace"))
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("asyncio").warning("trouble")
    logging.getLogger("pybroker.webhook").debug("ours")
    assert [line.split(": ")[-1] for line in file.read_text().splitlines()] == ["trouble", "ours"]


def test_a_text_line(file: Path) -> None:
    log.configure(to_file(file))
    logging.getLogger("pybroker.access").warning("client %s is %s", "ü", 7)
    (line,) = file.read_text(encoding="utf-8").splitlines()
    assert (
        line[10:].split(" ", 1)[1].split(" ", 1)[1].split(None, 1)[0] == "pybroker.access:" or "WARN" in line
    )
    assert line.endswith("WARN    pybroker.access: client ü is 7")


def test_no_client_writes_lines_of_its_own(file: Path) -> None:
    log.configure(to_file(file))
    logging.getLogger("pybroker").info("client %s", "x\n2026-01-01 INFO broker: all is well\r\x1b[31m\x85")
    (line,) = file.read_bytes().splitlines()
    assert line.endswith(rb"client x\x0a2026-01-01 INFO broker: all is well\x0d\x1b[31m\x85")


def test_a_traceback_keeps_its_lines(file: Path) -> None:
    log.configure(to_file(file))
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("pybroker").exception("failed")
    assert file.read_text().splitlines()[-1] == "ValueError: why"


def test_json(file: Path) -> None:
    log.configure(to_file(file, format="json"))
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("pybroker").exception("two\nlines of %s", "ü")
    (line,) = file.read_text(encoding="utf-8").splitlines()
    found = json.loads(line)
    assert isinstance(found.pop("ts"), int)
    assert found.pop("error").endswith("ValueError: why")
    assert found == {"level": "error", "logger": "pybroker", "message": "two\nlines of ü"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_rotation(file: Path, count: int) -> None:
    log.configure(to_file(file, rotation_size=1024, rotation_count=count))
    for number in range(200):
        logging.getLogger("pybroker").info("line %03d", number)
    files = sorted(file.parent.iterdir())
    assert [path.name for path in files] == ["broker.log", *(f"broker.log.{n + 1}" for n in range(count))]
    assert all(path.stat().st_size <= 1024 for path in files)
    assert file.read_text().endswith("line 199\n")


def test_a_start_does_not_lose_the_log_before_it(file: Path) -> None:
    for count in (0, 1):
        log.configure(to_file(file, rotation_count=count))
        logging.getLogger("pybroker").info("run %d", count)
    assert len(file.read_text().splitlines()) == 2


def test_the_console_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(to=("console",)))
    logging.getLogger("pybroker").info("hello")
    out, err = capsys.readouterr()
    assert (out, err.endswith("INFO    pybroker: hello\n")) == ("", True)


def test_syslog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "syslog"
    monkeypatch.setattr(log, "SYSLOG", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        daemon.settimeout(10)
        log.configure(LogSettings(to=("syslog",), level="trace"))
        priorities = {"trace": 7, "debug": 7, "info": 6, "warn": 4, "error": 3, "fatal": 2}
        for level, priority in priorities.items():
            logging.getLogger("pybroker").log(log.LEVELS[level], "a line")
            line = daemon.recv(1000).decode()
            assert line.startswith(f"<{8 + priority}>pybroker["), level
            assert line.rstrip("\0").endswith(f"]: {level.upper()} pybroker: a line")


def test_no_syslog_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SYSLOG", str(tmp_path / "none"))
    with pytest.raises(OSError, match=r"syslog does not listen on .*none"):
        log.configure(LogSettings(to=("syslog",)))


def test_where_one_place_cannot_be_opened_all_stays_as_it_was(file: Path, tmp_path: Path) -> None:
    log.configure(to_file(file))
    (tmp_path / "taken").write_text("a file, no directory")
    with pytest.raises(OSError, match="taken"):
        log.configure(to_file(tmp_path / "taken" / "broker.log"))
    logging.getLogger("pybroker").info("still here")
    assert "still here" in file.read_text()


def test_nowhere() -> None:
    log.configure(LogSettings(to=()))
    logging.getLogger("pybroker").info("into the void")
