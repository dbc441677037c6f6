"""The tests of both specifications, with each client on another of three nodes than the client before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ..integration.support import ROOT

FEW = ("test_qos.py", "test_shared.py", "test_will.py")


def run(*files: str) -> None:
    paths = [f"tests/conformance/{name}" for name in files]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--nodes", "3", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout[-10_000:]


def test_where_several_clients_meet() -> None:
    run(*FEW)


@pytest.mark.slow
def test_the_other_statements() -> None:
    run("test_flow.py", "test_publish.py", "test_subscribe.py")
