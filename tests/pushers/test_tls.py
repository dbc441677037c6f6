"""Servers that are reached over TLS, with certificates of our own on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.waiting import until

from .conftest import LIBRARIES
from .servers import Nats, Rabbit, Redis, Server, running
from .support import drained, published, pushers

QUICK = "retry { first = 20ms, max = 200ms }, cancel_timeout = 5s, drain_timeout = 0"


@dataclass
class Files:
    authority: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    client = authority.issue_cert("pusher@example.org")
    names = ("ca.pem", "cert.pem", "key.pem", "client.pem", "client-key.pem")
    found = Files(*(tmp_path / name for name in names))
    authority.cert_pem.write_to_path(found.authority)
    for one, certificate, key in (
        (server, found.certificate, found.key),
        (client, found.client_certificate, found.client_key),
    ):
        certificate.write_bytes(b"".join(part.bytes() for part in one.cert_chain_pems))
        one.private_key_pem.write_to_path(key)
    return found


class TlsRedis(Redis):
    files: Files

    def command(self) -> list[str]:
        program, _, port, *rest = super().command()
        files = self.files
        return [
            *(program, "--port", "0", "--tls-port", port, *rest),
            *("--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)),
            *("--tls-ca-cert-file", str(files.authority), "--tls-auth-clients", "yes"),
        ]

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.port}/0"


class TlsNats(Nats):
    files: Files

    def command(self) -> list[str]:
        files = self.files
        certificates = ["--tlscert", str(files.certificate), "--tlskey", str(files.key)]
        return [
            *super().command(),
            "--tls",
            *certificates,
            "--tlsverify",
            "--tlscacert",
            str(files.authority),
        ]

    @property
    def url(self) -> str:
        return f"tls://localhost:{self.port}"


class TlsRabbit(Rabbit):
    files: Files

    def environment(self) -> dict[str, str]:
        files = self.files
        (self.directory / "rabbitmq.conf").write_text(
            f"listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{self.port}\n"
            f"ssl_options.cacertfile = {files.authority}\nssl_options.certfile = {files.certificate}\n"
            f"ssl_options.keyfile = {files.key}\nssl_options.verify = verify_peer\n"
            "ssl_options.fail_if_no_peer_cert = true\n"
        )
        return {**super().environment(), "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf")}

    def ready(self) -> bool:
        return Server.ready(self) and "startup complete" in self._log()

    def _log(self) -> str:
        return "".join(file.read_text(errors="replace") for file in (self.directory / "log").glob("*.log"))

    @property
    def url(self) -> str:
        return f"amqps://guest:guest@localhost:{self.port}/"


@pytest.fixture(params=[TlsRedis, TlsNats, TlsRabbit], ids=["redis", "nats", "rabbit"])
def secure(request: pytest.FixtureRequest, tmp_path: Path, files: Files) -> Iterator[Server]:
    kind = request.param
    pytest.importorskip(LIBRARIES[kind.__base__])
    kind.files = files
    with running(kind(tmp_path / "server")) as server:
        yield server


def conf(server: Server, tls: str) -> str:
    kind = type(server).__name__.lower().removeprefix("tls")
    own = 'mandatory = false, exchange.name = "events"' if kind == "rabbit" else ""
    rules = "events = [{ event = on_message_publish }]"
    return f'{kind} {{ url = "{server.url}", {rules}, {QUICK}, {own}\n tls {{ {tls} }} }}'


async def test_certificates_on_both_sides(secure, files, start, tmp_path) -> None:
    ours = f'certfile = "{files.client_certificate}", keyfile = "{files.client_key}"'
    tls = f'cacertfile = "{files.authority}", {ours}'
    sink = await start(*pushers(tmp_path, conf(secure, tls)))
    if isinstance(secure, Nats):
        await make_stream(secure, files)
    for number in range(100):
        sink.offer(published(number))
    assert (await drained(sink)).succeeded == 100


async def test_a_server_that_is_not_trusted(secure, files, start, tmp_path) -> None:
    ours = f'certfile = "{files.client_certificate}", keyfile = "{files.client_key}"'
    sink = await start(*pushers(tmp_path, conf(secure, ours)))
    sink.offer(published(1))
    await until(lambda: "certificate verify failed" in sink.stats()[0].last_failure.lower())
    assert sink.stats()[0].succeeded == 0


async def make_stream(server: Server, files: Files) -> None:
    import ssl

    import nats

    context = ssl.create_default_context(cafile=files.authority)
    context.load_cert_chain(files.client_certificate, files.client_key)
    client = await nats.connect(server.url, tls=context)
    await client.jetstream().add_stream(name="mqtt", subjects=["mqtt.>"])
    await client.close()
