"""Brokers with bridges, and what stands at the other end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pybroker.broker.bridge.bridge import BridgeStatus
from pybroker.testing import TestBroker
from tests.integration.support import wait_for as wait_until
from tests.ports import free_port

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="mosquitto is not installed (Debian: mosquitto)"
)


def bridge(server: str, *lines: str, name: str = "up") -> str:
    """A section of the file."""
    inner = "\n".join(lines)
    return f'bridges.mqtt.{name} {{\nserver = "{server}"\n{inner}\n}}\n'


def forward(local: str, remote: str = "", more: str = "") -> str:
    return f'{{ local_topic = "{local}", remote_topic = "{remote}", {more} }}'


def comes(remote: str, local: str = "", more: str = "qos = 2") -> str:
    return f'{{ remote_topic = "{remote}", local_topic = "{local}", {more} }}'


def forwards(*entries: str) -> str:
    return f"forwards = [ {', '.join(entries)} ]"


def subscription(*entries: str) -> str:
    return f"subscription = [ {', '.join(entries)} ]"


def url(broker: TestBroker) -> str:
    return f"mqtt-tcp://127.0.0.1:{broker.port}"


def status(broker: TestBroker, name: str = "up") -> BridgeStatus:
    return broker.running.call(lambda: broker.running.app.bridges.all[name].status)


def wait_for_state(broker: TestBroker, state: str, name: str = "up") -> None:
    wait_until(lambda: status(broker, name).state == state, f"the bridge {name} is {state}")


@contextmanager
def bridged(*sections: str) -> Iterator[TestBroker]:
    """A broker with these bridges, of which all are up."""
    with TestBroker(conf_text="".join(sections)) as broker:
        for name in list(broker.running.app.bridges.all):
            wait_for_state(broker, "connected", name)
        yield broker


@contextmanager
def mosquitto(directory: Path, *lines: str, port: int = 0) -> Iterator[int]:
    """A running mosquitto and its port."""
    port = port or free_port()
    conf = directory / f"mosquitto-{port}.conf"
    conf.write_text("\n".join((f"listener {port} 127.0.0.1", "allow_anonymous true", *lines, "")))
    process = subprocess.Popen(["mosquitto", "-c", str(conf)], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: _accepts(port) or process.poll() is not None, "mosquitto accepts")
        assert process.poll() is None, "mosquitto has ended"
        yield port
    finally:
        process.kill()
        process.communicate()


class Scripted:
    """A remote broker of few words: answers each connection's bytes by ``answer``, and keeps them."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        """``answer`` is given what came first on a connection; None closes it."""
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.first: list[bytes] = []
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for one in self._open:
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            data = connection.recv(4096)
            self.first.append(data)
            answer = self._answer(data)
            if answer is None:
                connection.close()
            else:
                connection.sendall(answer)
                self._open.append(connection)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
