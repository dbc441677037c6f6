"""`log {}`: where lines go, which, and how they read."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybroker.broker.config.settings import LogSettings
from pybroker.broker.process import flood, log


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
    for one in log._floods:
        one.flush()
        one.logger.removeFilter(one)


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
    assert line.endswith(rb"client x\n2026-01-01 INFO broker: all is well\r\x1b[31m\x85")


EVIL = "a\u2028b\u2029c\u202ed\u2066e\ufefff\ud800g"
"""Separators of lines and paragraphs, marks that turn the direction of reading, a lone surrogate."""


@pytest.mark.parametrize("format", ["text", "json"])
def test_text_beyond_ascii_is_written_too(file: Path, format: str) -> None:
    log.configure(to_file(file, format=format))
    logging.getLogger("pybroker").info("client %s, f\u00fcr \u05d0", EVIL)
    (line,) = file.read_text(encoding="utf-8").splitlines()
    assert line.isprintable()
    if format == "json":
        assert json.loads(line)["message"] == f"client {EVIL}, f\u00fcr \u05d0"
    else:
        assert line.endswith(r"client a\u2028b\u2029c\u202ed\u2066e\ufefff\ud800g, f" + "\u00fcr \u05d0")


def test_a_traceback_has_no_line_of_a_clients(file: Path) -> None:
    log.configure(to_file(file))
    try:
        raise ValueError("x\n2026-01-01 INFO broker: all is well\u2028INFO\x1b[31m")
    except ValueError:
        logging.getLogger("pybroker").exception("failed")
    first, *lines = file.read_text(encoding="utf-8").splitlines()
    assert first.endswith("failed")
    assert len(lines) > 3
    assert all(line.startswith("  ") and line.isprintable() for line in lines)


def test_a_flood_is_counted_and_the_rest_is_still_seen(file: Path) -> None:
    log.configure(to_file(file, level="debug"))
    clients = logging.getLogger("pybroker.clients")
    for number in range(1000):
        clients.info("client %s disconnected: %s", number, "normal")
        clients.debug("debug %d", number)
    clients.info("client %s connected", "c")
    log.flush()
    lines = [line.partition("pybroker.clients: ")[2] for line in file.read_text().splitlines()]
    left = [line for line in lines if "disconnected" in line]
    assert len(left) < 500
    assert left[:-1] == [f"client {number} disconnected: normal" for number in range(len(left) - 1)]
    assert left[-1] == (f"client 999 disconnected: normal ({1000 - len(left)} more such lines were left out)")
    assert "client c connected" in lines
    assert sum(line.startswith("debug") for line in lines) == 1000
    log.flush()
    assert len(file.read_text().splitlines()) == len(lines)


def accounted(file: Path) -> int:
    """The lines that are in the file, and those that it says were left out."""
    lines = file.read_text().splitlines()
    return len(lines) + sum(int(line.rpartition("(")[2].split()[0]) for line in lines if "left out" in line)


async def test_after_a_flood_the_count_comes_by_itself(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "TELL_AFTER", 0.01)
    log.configure(to_file(file))
    for number in range(1000):
        logging.getLogger("pybroker.clients").info("number %d", number)
    async with asyncio.timeout(60):
        while accounted(file) < 1000:
            await asyncio.sleep(0.001)
    assert accounted(file) == 1000


def test_lines_of_threads_are_told_by_the_next_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "TELL_AFTER", 0.0)
    log.configure(to_file(file))
    for number in range(1000):
        logging.getLogger("pybroker.access").info("number %d", number)
    log.flush()
    assert accounted(file) == 1000
    assert len(file.read_text().splitlines()) > 300  # not one for the whole flood


def test_what_is_printed_is_not_on_the_console_twice(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(to=("console", "file"), dir=file.parent, file=file.name))
    log.also_printed("stopping")
    assert "stopping" not in "".join(capsys.readouterr())
    assert "INFO    pybroker: stopping" in file.read_text()


def test_a_traceback_keeps_its_lines(file: Path) -> None:
    log.configure(to_file(file))
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("pybroker").exception("failed")
    assert file.read_text().splitlines()[-1] == "  ValueError: why"


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
