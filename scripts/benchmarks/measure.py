"""Runs the load generator and the webhook receiver as processes on another core than the broker's."""

from __future__ import annotations

import http.client
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .brokers import LOAD_CORE, Running, pinned

SCRIPTS = Path(__file__).resolve().parents[1]
OUTER_LIMIT = 300.0
"""Seconds after which a load generator is killed."""

Values = dict[str, Any]
"""The results of a measurement by name, or ``error`` if it failed."""


def prepare() -> None:
    """Leave the broker's core to the broker, and allow as many open files as the system permits."""
    if hasattr(os, "sched_setaffinity") and LOAD_CORE in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {LOAD_CORE})
    open_many_files()


def open_many_files() -> None:
    """Allow this process, and those that it starts, as many open files as the system permits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def most_connections() -> int:
    """The number of connections that a broker or a load generator can hold here."""
    kept_for_other_files = 100
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - kept_for_other_files


@contextmanager
def working_directory() -> Iterator[Path]:
    """A directory for the files of one broker."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = Path(name)
        path.chmod(0o755)  # mosquitto, started by root, goes on as a user of its own
        yield path


def load(broker: Running, arguments: str) -> Values:
    """Run the load generator against ``broker`` and return its results."""
    with loading(broker, arguments) as process:
        return finished(process)


@contextmanager
def loading(broker: Running, arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The running load generator. It ends with the context."""
    scenario, *options = shlex.split(arguments)
    command = [scenario, f"127.0.0.1:{broker.port}", "--pid", str(broker.pid), *options]
    with _beside([sys.executable, "-m", "benchmarks.load", *command]) as process:
        yield process


@contextmanager
def _beside(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process on the other core, until the context ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        pinned(LOAD_CORE, command), cwd=SCRIPTS, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(process: subprocess.Popen[str]) -> Values:
    """Wait for a load generator. Returns its results, or the error with which it ended."""
    try:
        output, errors = process.communicate(timeout=OUTER_LIMIT)
    except subprocess.TimeoutExpired:
        return {"error": f"the load generator did not end within {OUTER_LIMIT:g} s"}
    if not output:
        return {"error": (errors.strip().splitlines() or ["the load generator printed nothing"])[-1]}
    values: Values = json.loads(output)
    return values


class Receiver:
    """A webhook receiver in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/hook"

    def counts(self, path: str = "/stats") -> Values:
        """The counts of what it has received. With ``/reset`` as the path it starts again at zero."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            counts: Values = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return counts


@contextmanager
def receiver(port: int = 0, *options: str) -> Iterator[Receiver]:
    """A receiver on ``port``; 0: any free port. Raises OSError if the port is in use."""
    command = [sys.executable, "-m", "benchmarks.hooksink", str(port), *options]
    with _beside(command) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise OSError(process.communicate()[1].strip())
        yield Receiver(int(line))
