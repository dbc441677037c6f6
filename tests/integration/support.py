"""A broker as a user starts it, and an HTTP server that its webhooks reach."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from tests.waiting import DEADLINE

ROOT = Path(__file__).resolve().parents[2]

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, deadline: float = DEADLINE) -> T:
    """The first true value of ``condition``; fails with ``what`` once ``deadline`` seconds are over."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:g} s for {what}")
        time.sleep(0.005)


class RunningBroker:
    """`pybroker start` in a process of its own."""

    def __init__(self, directory: Path, conf: str, *flags: str) -> None:
        self.conf = directory / "nanomq.conf"
        self.conf.write_text(conf, encoding="utf-8")
        self.ready_file = directory / "ready.json"
        self._output = (directory / "output.txt").open("w+", encoding="utf-8")
        command = [sys.executable, "-m", "pybroker", "start", "--conf", str(self.conf)]
        self.process = subprocess.Popen(
            [*command, "--ready-file", str(self.ready_file), *flags],
            cwd=ROOT,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "XDG_RUNTIME_DIR": str(directory), "PYTHONUNBUFFERED": "1"},
        )
        wait_for(lambda: self.ready_file.exists() or self.process.poll() is not None, "the broker")
        if not self.ready_file.exists():
            raise AssertionError(f"the broker did not start:\n{self.output}")
        self.facts: dict[str, Any] = json.loads(self.ready_file.read_text())

    @property
    def port(self) -> int:
        return int(self.facts["listeners"][0]["port"])

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return Path(self._output.name).read_text(encoding="utf-8")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self._output.close()


@dataclass
class Request:
    """One POST as the endpoint saw it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Endpoint:
    """An HTTP server on a free port that keeps every POST."""

    status: int = 200
    requests: list[Request] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    """Answers wait for it; open unless a test closes it."""

    def __post_init__(self) -> None:
        endpoint = self
        self.gate.set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                endpoint.requests.append(Request(self.path, headers, body))
                endpoint.gate.wait(DEADLINE)
                self.send_response(endpoint.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def actions(self) -> list[str]:
        return [request.json["action"] for request in self.requests]

    def wait(self, count: int) -> list[dict[str, Any]]:
        """The bodies, once there are at least ``count`` of them."""
        wait_for(lambda: len(self.requests) >= count, f"{count} webhooks, got {self.actions()}")
        return [request.json for request in self.requests]

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
