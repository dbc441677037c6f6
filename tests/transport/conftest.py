from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import trustme

from pybroker.broker.config.settings import ListenerSettings, TlsServer

from .support import LOOPS, BrokerThread


class Certificates:
    """An authority, what it signs, and the files of a server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.cacertfile = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(self.cacertfile)

    @cached_property
    def server(self) -> TlsServer:
        return self.files("server", self.authority.issue_cert("localhost", "127.0.0.1", "::1"))

    @cached_property
    def expired(self) -> TlsServer:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        issued = self.authority.issue_cert(
            "localhost", "127.0.0.1", not_before=yesterday - timedelta(days=9), not_after=yesterday
        )
        return self.files("expired", issued)

    @cached_property
    def misnamed(self) -> TlsServer:
        return self.files("misnamed", self.authority.issue_cert("elsewhere.example"))

    def files(self, name: str, issued: trustme.LeafCert, **options: Any) -> TlsServer:
        certfile, keyfile = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        certfile.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(keyfile)
        return TlsServer(certfile, keyfile, **options)

    def client(self, common_name: str | None = None, authority: trustme.CA | None = None) -> ssl.SSLContext:
        """A client that trusts the authority; with a certificate of ``authority`` where a name is given."""
        context = ssl.create_default_context(cafile=str(self.cacertfile))
        if common_name is not None:
            signer = authority or self.authority
            signer.issue_cert("client.example", common_name=common_name).configure_cert(context)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    """A test that asks for this runs on each kind of event loop."""
    return str(request.param)


@pytest.fixture
def serve(loop_name: str) -> Iterator[Callable[..., BrokerThread]]:
    """Starts a broker with the given listeners; all are stopped after the test."""
    started: list[BrokerThread] = []

    def start(*listeners: ListenerSettings, **settings: Any) -> BrokerThread:
        started.append(BrokerThread(loop_name, *listeners, **settings))
        return started[-1]

    yield start
    for broker in started:
        broker.stop()
