"""A broker under a service manager: units of `Type=notify`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import DEADLINE

from .clients import connected
from .support import RunningBroker

CONF = 'listeners.tcp.bind = "127.0.0.1:0"\n'


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where a service manager listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE)
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield manager


def test_it_is_told_when_clients_are_served_and_when_that_ends(
    manager: socket.socket, tmp_path: Path
) -> None:
    broker = RunningBroker(tmp_path, CONF)
    try:
        assert manager.recv(100) == b"READY=1"
        with connected(broker.port, "c") as client:
            assert client.reason.value == 0
    finally:
        assert broker.stop() == 0
    assert manager.recv(100) == b"STOPPING=1"


def test_it_is_told_at_an_abstract_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE)
        manager.bind("")  # the system picks a free one
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + manager.getsockname()[1:].decode())
        broker = RunningBroker(tmp_path, CONF)
        try:
            assert manager.recv(100) == b"READY=1"
        finally:
            broker.stop()


@pytest.mark.parametrize("address", ["/nowhere/at/all", "vsock:2:1", ""])
def test_one_that_cannot_be_told_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert RunningBroker(tmp_path, CONF).stop() == 0
