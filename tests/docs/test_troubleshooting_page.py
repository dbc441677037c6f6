"""docs/troubleshooting.md: what it quotes is what pybroker says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.support import RunningBroker, wait_for

from .blocks import ROOT, of

PORT, RECEIVER = "18831", "8888"
"""Those that the page names."""


class Place:
    """A folder to run commands in, as the only user of its brokers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def says(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pybroker", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout + done.stderr

    def checks(self, conf: str) -> str:
        (self.folder / "nanomq.conf").write_text(conf)
        return self.says("check", "--conf", "nanomq.conf")


def taken_port(place: Place) -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        return place.says("start", "--url", f"mqtt://127.0.0.1:{port}").replace(str(port), PORT)


def missing_file(place: Place) -> str:
    return place.says("check", "--conf", "nanomq.conf")


def missing_certificate(place: Place) -> str:
    return place.checks('listeners.ssl { certfile = "cert.pem", keyfile = "key.pem" }')


def unknown_key(place: Place) -> str:
    return place.checks("mqtt { max_packt_size = 1MB }")


def webhook_status(place: Place) -> str:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        port = silent.getsockname()[1]
        conf = f"""
            listeners.tcp.bind = "127.0.0.1:0"
            webhook {{
                url = "http://127.0.0.1:{port}/"
                drain_timeout = 0s
                events = [{{ event = "on_message_publish" }}]
            }}
        """
        broker = RunningBroker(place.folder, conf)
        try:
            place.says("pub", "-p", str(broker.port), "-t", "a", "-m", "x")
            said = wait_for(lambda: failed(place.says("webhook", "status")), "the failure")
            return said.replace(str(port), RECEIVER)
        finally:
            broker.stop()


def failed(status: str) -> str:
    return status if "the last failure" in status else ""


def no_broker(place: Place) -> str:
    return place.says("stop")


SCENES: dict[str, Callable[[Place], str]] = {
    "taken port": taken_port,
    "missing file": missing_file,
    "missing certificate": missing_certificate,
    "unknown key": unknown_key,
    "webhook status": webhook_status,
    "no broker": no_broker,
}
QUOTES = {
    block.mark.removeprefix("says: "): block.code.strip()
    for block in of("text")
    if block.mark.startswith("says: ")
}


def test_each_quote_has_its_scene() -> None:
    assert QUOTES.keys() == SCENES.keys()


@pytest.mark.parametrize("scene", SCENES)
def test_a_quote_is_what_is_said(scene: str, tmp_path: Path) -> None:
    assert QUOTES[scene] in SCENES[scene](Place(tmp_path))
