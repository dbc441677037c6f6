"""Certificates are checked, and shown to a server that demands one."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest
import trustme

from pybroker.broker.outgoing.tls import TlsError
from pybroker.webhook import Retry, Sink, TlsClient
from tests.waiting import until

from .conftest import drained
from .receiver import Receiver, answer, close_after, hang, reset_before_answer, reset_in_answer
from .samples import endpoint, published


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    ca.cert_pem.write_to_path(directory / "ca.pem")
    client = ca.issue_cert("client@example.org")
    client.private_key_pem.write_to_path(directory / "client.key")
    client.cert_chain_pems[0].write_to_path(directory / "client.pem")
    return directory


async def server(ca: trustme.CA, name: str, demand: bool = False) -> Receiver:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name).configure_cert(context)
    if demand:
        ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    receiver = Receiver(tls=context)
    await receiver.start()
    return receiver


async def test_a_trusted_certificate(ca, files, start) -> None:
    receiver = await server(ca, "127.0.0.1")
    sink = await start(endpoint(receiver.url, tls=TlsClient(cacertfile=files / "ca.pem")))
    sink.offer(published())
    await drained(sink)
    assert len(receiver.requests) == 1
    await receiver.stop()


@pytest.mark.parametrize(
    ("name", "cacertfile", "complaint"),
    [
        ("elsewhere.example.org", "ca.pem", "certificate not accepted: IP address mismatch"),
        ("127.0.0.1", None, "certificate not accepted: unable to get local issuer certificate"),
    ],
)
async def test_a_certificate_that_is_not_accepted(
    ca, files, start, caplog, name, cacertfile, complaint
) -> None:
    receiver = await server(ca, name)
    tls = TlsClient(cacertfile=files / cacertfile if cacertfile else None)
    sink = await start(endpoint(receiver.url, tls=tls))
    sink.offer(published())
    await until(lambda: sink.stats()[0].dead)
    assert not receiver.requests
    assert complaint in caplog.text
    await receiver.stop()


async def test_verify_false_accepts_any(ca, start) -> None:
    receiver = await server(ca, "elsewhere.example.org")
    sink = await start(endpoint(receiver.url, tls=TlsClient(verify=False)))
    sink.offer(published())
    await drained(sink)
    assert len(receiver.requests) == 1
    await receiver.stop()


async def test_a_client_certificate_is_shown_on_demand(ca, files, start) -> None:
    receiver = await server(ca, "127.0.0.1", demand=True)
    tls = TlsClient(files / "client.key", files / "client.pem", files / "ca.pem")
    sink = await start(endpoint(receiver.url, tls=tls))
    sink.offer(published())
    await drained(sink)
    assert len(receiver.requests) == 1

    without = await start(endpoint(receiver.url, tls=TlsClient(cacertfile=files / "ca.pem")))
    without.offer(published())
    await until(lambda: without.stats()[0].dead)
    assert len(receiver.requests) == 1
    await receiver.stop()


@pytest.mark.parametrize(
    "trouble", [500, answer(429, retry_after="0"), reset_before_answer, reset_in_answer, hang]
)
async def test_a_server_that_misbehaves_is_tried_again(ca, files, start, trouble) -> None:
    receiver = await server(ca, "127.0.0.1")
    receiver.answers = [trouble]
    tls = TlsClient(cacertfile=files / "ca.pem")
    sink = await start(endpoint(receiver.url, tls=tls, cancel_timeout=1.0 if trouble is hang else 60.0))
    sink.offer(published())
    await drained(sink)
    stats = sink.stats()[0]
    assert (stats.succeeded, stats.tries, stats.retries) == (1, 2, 1)
    assert len({request.id for request in receiver.requests}) == 1
    await receiver.stop()


async def test_connections_are_kept_and_may_close(ca, files, start) -> None:
    receiver = await server(ca, "127.0.0.1")
    tls = TlsClient(cacertfile=files / "ca.pem")
    retry = Retry(max_attempts=50, first=0.001, max=0.01, ttl=1e9)
    sink = await start(endpoint(receiver.url, tls=tls, pool_size=2, retry=retry))
    for number in range(100):
        if number == 50:
            await drained(sink)
            assert len(receiver.peers) <= 2
            receiver.default = close_after
        sink.offer(published(str(number).encode()))
    await drained(sink)
    assert sink.stats()[0].succeeded == 100
    assert {request.json["payload"] for request in receiver.requests} == {str(n) for n in range(100)}
    await receiver.stop()


async def test_a_renewed_certificate_is_read_again(ca, files, start, tmp_path) -> None:
    receiver = await server(ca, "127.0.0.1", demand=True)
    stranger = trustme.CA().issue_cert("client@example.org")
    stranger.private_key_pem.write_to_path(tmp_path / "client.key")
    stranger.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    tls = TlsClient(tmp_path / "client.key", tmp_path / "client.pem", files / "ca.pem")
    settings = endpoint(receiver.url, tls=tls, retry=Retry(1_000_000, 0.001, 0.01, 1e9))
    sink = await start(settings)
    sink.offer(published())
    await until(lambda: sink.stats()[0].retries)
    assert not receiver.requests
    for name in ("client.key", "client.pem"):
        shutil.copy(files / name, tmp_path / name)
    await sink.replace([settings])
    await drained(sink)
    assert len(receiver.requests) == 1
    await receiver.stop()


def test_a_key_with_a_password(files) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((files / "client.key").read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open sesame"),
    )
    (files / "locked.key").write_bytes(locked)
    sink = Sink(
        [
            endpoint(
                "https://h/", tls=TlsClient(files / "locked.key", files / "client.pem", None, "open sesame")
            )
        ]
    )
    assert sink.stats()[0].url == "https://h/"
    with pytest.raises(TlsError, match=r"webhook webhook: certfile .*client.pem, keyfile .*locked.key: "):
        Sink([endpoint("https://h/", tls=TlsClient(files / "locked.key", files / "client.pem"))])


@pytest.mark.parametrize(
    ("tls", "complaint"),
    [
        (TlsClient(cacertfile=Path("/no/such.pem")), "cacertfile /no/such.pem: No such file or directory"),
        (TlsClient(certfile=Path("/no/such.pem")), "certfile /no/such.pem: No such file"),
        (TlsClient(keyfile=Path("/no/such.pem")), "keyfile /no/such.pem needs a certfile beside it"),
    ],
)
def test_files_that_cannot_be_used(tls: TlsClient, complaint: str) -> None:
    with pytest.raises(TlsError) as caught:
        Sink([endpoint("https://h/", tls=tls)])
    assert complaint in str(caught.value)
