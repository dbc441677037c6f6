"""`pybroker passwd` at the terminal, and the users it makes."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import DEADLINE

from .clients import connected
from .support import ROOT, RunningBroker
from .test_command import pybroker


def passwd(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pybroker", "passwd", *map(str, arguments)],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def at_a_terminal(file: Path, *lines: str) -> tuple[int, str]:
    """Type ``lines`` when asked; the exit status, and all that was to be seen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "pybroker", "passwd", str(file), "ann"])
    seen = b""
    answered = 0
    while True:
        assert select.select([terminal], [], [], DEADLINE)[0], f"nothing comes after {seen!r}"
        try:
            read = os.read(terminal, 1000)
        except OSError:  # Linux's word for the end
            break
        if not read:
            break
        seen += read
        if answered < min(len(lines), seen.count(b": ")):
            os.write(terminal, lines[answered].encode() + b"\n")
            answered += 1
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_asked_twice_without_echo(tmp_path: Path) -> None:
    file = tmp_path / "pwd.conf"
    status, seen = at_a_terminal(file, "secret", "secret")
    assert (status, seen.split()[-2:]) == (0, ["added", "ann"])
    assert "secret" not in seen
    assert "secret" not in file.read_text()
    status, seen = at_a_terminal(file, "one", "other")
    assert status == 1
    assert "not the same" in seen


def test_a_user_may_connect_until_removed(start_broker: Callable[..., RunningBroker], tmp_path: Path) -> None:
    file = tmp_path / "pwd.conf"
    assert passwd(file, "ann", "--password-stdin", stdin="secret\n").stdout == "added ann\n"
    assert passwd(file, "bob", "--password-stdin", stdin="secret\n").stdout == "added bob\n"
    broker = start_broker(f'auth {{ allow_anonymous = false, password = {{include "{file}"}} }}\n')

    def answer(user: str, password: str) -> int:
        with connected(broker.port, "c", username=user, password=password) as client:
            return int(client.reason.value)

    assert answer("ann", "secret") == 0
    assert answer("ann", "guess") != 0
    assert passwd(file, "ann", "--password-stdin", stdin="other\n").stdout == "changed ann\n"
    assert passwd(file, "bob", "-D").stdout == "removed bob\n"
    assert answer("ann", "secret") == 0
    assert pybroker("reload", XDG_RUNTIME_DIR=str(broker.conf.parent)).returncode == 0
    assert answer("ann", "secret") != 0
    assert answer("ann", "other") == 0
    assert answer("bob", "secret") != 0


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (("ann",), "secret\n", "no terminal"),
        (("ann", "--password-stdin"), "\n", "the password is empty"),
        (("", "--password-stdin"), "x\n", "a user name has at least one character"),
        (("a\tb", "--password-stdin"), "x\n", "no control characters"),
        (("ann", "-D"), "", "no such file"),
    ],
)
def test_what_cannot_be(tmp_path: Path, arguments: tuple[str, ...], stdin: str, words: str) -> None:
    answer = passwd(tmp_path / "pwd.conf", *arguments, stdin=stdin)
    assert answer.returncode == 1
    assert words in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not (tmp_path / "pwd.conf").exists()
