"""TLS as clients meet it: who is let in, who refuses us, and what happens when certificates change."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from pybroker.broker.config.settings import ListenerSettings, TlsServer
from pybroker.broker.transport.listener import Listener, ListenError
from pybroker.broker.transport.tls import common_name, server_context
from tests.waiting import DEADLINE

from ..integration.support import wait_for
from .conftest import Certificates
from .support import PINGREQ, PINGRESP, BrokerThread, Wire, connect_packet, connected

Serve = Callable[..., BrokerThread]


def listening(tls: TlsServer, name: str = "ssl", **options: object) -> ListenerSettings:
    return ListenerSettings(name, "ssl", port=0, tls=tls, **options)  # type: ignore[arg-type]


def mutual(certificates: Certificates, *, required: bool = True) -> TlsServer:
    return replace(
        certificates.server,
        cacertfile=certificates.cacertfile,
        verify_peer=True,
        fail_if_no_peer_cert=required,
    )


def secure(port: int, context: ssl.SSLContext, name: str = "localhost") -> Wire:
    """A bare connection after its TLS handshake."""
    connection = socket.create_connection(("127.0.0.1", port), DEADLINE)
    try:
        return Wire(context.wrap_socket(connection, server_hostname=name))
    except BaseException:
        connection.close()
        raise


def refusal(port: int, context: ssl.SSLContext) -> str:
    """The alert by which the broker ends the handshake; with TLS 1.3 the client hears it when it reads."""
    with pytest.raises(ssl.SSLError) as caught, secure(port, context) as wire:
        wire.read(1)
    return str(caught.value.reason)


def serial_number(wire: Wire) -> str:
    assert isinstance(wire.socket, ssl.SSLSocket)
    certificate = wire.socket.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


# Versions of TLS.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_versions_are_served(
    serve: Serve, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    broker = serve(listening(certificates.server))
    context = certificates.client()
    context.minimum_version = context.maximum_version = version
    with secure(broker.port("ssl"), context) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert wire.socket.version() == version.name.replace("_", ".")
        wire.connect()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(
    serve: Serve, certificates: Certificates, version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pybroker")
    broker = serve(listening(certificates.server))
    context = certificates.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version|unsupported.protocol"):
        secure(broker.port("ssl"), context)
    wait_for(lambda: "listener ssl: TLS handshake failed: unsupported protocol" in caplog.text, "a log line")


def test_plain_mqtt_on_a_tls_port_is_refused(
    serve: Serve, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pybroker")
    broker = serve(listening(certificates.server))
    with Wire.to(broker.port("ssl")) as wire:
        wire.send(connect_packet())
        assert not wire.read_to_end().startswith(b"\x20"), "no CONNACK"
    wait_for(lambda: "listener ssl: TLS handshake failed" in caplog.text, "a log line")
    with secure(broker.port("ssl"), certificates.client()) as wire:
        wire.connect()


# The broker's certificate, as clients judge it.


def test_an_expired_certificate_is_refused_by_the_client(serve: Serve, certificates: Certificates) -> None:
    broker = serve(listening(certificates.expired))
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        secure(broker.port("ssl"), certificates.client())


def test_a_certificate_of_another_name_is_refused_by_the_client(
    serve: Serve, certificates: Certificates
) -> None:
    broker = serve(listening(certificates.misnamed))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        secure(broker.port("ssl"), certificates.client())


def test_a_certificate_of_an_unknown_authority_is_refused_by_the_client(
    serve: Serve, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pybroker")
    broker = serve(listening(certificates.server))
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        secure(broker.port("ssl"), ssl.create_default_context())
    wait_for(lambda: "TLS handshake failed: tlsv1 alert unknown ca" in caplog.text, "a log line")


# The client's certificate, as the broker judges it.


@pytest.mark.parametrize("kind", ["ssl", "wss"])
def test_mutual_tls_lets_known_clients_in(serve: Serve, certificates: Certificates, kind: str) -> None:
    broker = serve(ListenerSettings(kind, kind, port=0, tls=mutual(certificates)))
    with connected(broker.listener(kind), context=certificates.client("sensor-7")) as client:
        client.publish_and_wait("t", b"x", 1)
        (channel,) = broker.call(lambda: list(broker.app.engine.channels))
        assert common_name(channel.certificate) == "sensor-7"
        assert channel.client.username is None, "the name is taken only where that is asked for"


def test_mutual_tls_refuses_strangers(serve: Serve, certificates: Certificates) -> None:
    broker = serve(listening(mutual(certificates)))
    port = broker.port("ssl")
    assert "CERTIFICATE_REQUIRED" in refusal(port, certificates.client())
    assert "UNKNOWN_CA" in refusal(port, certificates.client("x", trustme.CA()))
    with secure(port, certificates.client("known")) as wire:
        wire.connect()


def test_mutual_tls_refuses_an_expired_client(
    serve: Serve, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pybroker")
    broker = serve(listening(mutual(certificates)))
    context = certificates.client()
    context.load_cert_chain(certificates.expired.certfile, certificates.expired.keyfile)
    assert "CERTIFICATE_EXPIRED" in refusal(broker.port("ssl"), context)
    wait_for(lambda: "certificate verify failed: certificate has expired" in caplog.text, "a log line")


def test_an_optional_certificate_is_still_checked(serve: Serve, certificates: Certificates) -> None:
    port = serve(listening(mutual(certificates, required=False))).port("ssl")
    with secure(port, certificates.client()) as wire:
        wire.connect()
    assert "UNKNOWN_CA" in refusal(port, certificates.client("x", trustme.CA()))


def test_without_verify_peer_nobody_is_asked(serve: Serve, certificates: Certificates) -> None:
    broker = serve(listening(certificates.server))
    with secure(broker.port("ssl"), certificates.client("x", trustme.CA())) as wire:
        wire.connect()
        (channel,) = broker.call(lambda: list(broker.app.engine.channels))
        assert channel.certificate is None


def test_the_common_name_is_the_user_name_where_asked(serve: Serve, certificates: Certificates) -> None:
    broker = serve(listening(mutual(certificates), peer_cert_as_username="cn"))
    with secure(broker.port("ssl"), certificates.client("sensor-7")) as wire:
        wire.connect(username="admin", password=b"x")
        (channel,) = broker.call(lambda: list(broker.app.engine.channels))
        assert channel.client.username == "sensor-7"


@pytest.mark.parametrize("name", [None, ""])
def test_who_has_no_common_name_cannot_use_another_name(
    serve: Serve, certificates: Certificates, name: str | None
) -> None:
    broker = serve(listening(mutual(certificates, required=False), peer_cert_as_username="cn"))
    context = certificates.client()
    if name is not None:
        certificates.authority.issue_cert("client.example").configure_cert(context)
    with secure(broker.port("ssl"), context) as wire:
        wire.send(connect_packet(username="admin", password=b"x"))
        assert wire.read_to_end() == b"\x20\x02\x00\x05", "not authorized"


# Certificates change.


def test_new_certificates_are_shown_while_clients_stay(
    serve: Serve, certificates: Certificates, tmp_path: Path
) -> None:
    own = Certificates(tmp_path)
    broker = serve(listening(own.server), ListenerSettings("wss", "wss", port=0, tls=own.server))
    with (
        secure(broker.port("ssl"), own.client()) as old,
        connected(broker.listener("wss"), context=own.client()) as paho,
    ):
        old.connect()
        before = serial_number(old)
        own.files("server", own.authority.issue_cert("localhost", "127.0.0.1"))
        with secure(broker.port("ssl"), own.client()) as still:
            assert serial_number(still) == before, "not before the reload"
        for listener in broker.app.listeners:
            broker.call(lambda one=listener: reload(one))  # type: ignore[misc]
        for name in ("ssl", "wss"):
            with secure(broker.port(name), own.client()) as new:
                assert serial_number(new) != before
        old.send(PINGREQ)
        assert old.read(2) == PINGRESP
        paho.publish_and_wait("t", b"x", 1)


def test_an_authority_that_was_removed_is_not_trusted_after_a_reload(
    serve: Serve, certificates: Certificates, tmp_path: Path
) -> None:
    own = Certificates(tmp_path)
    broker = serve(listening(mutual(own)))
    port = broker.port("ssl")
    with secure(port, own.client("old")) as wire:
        wire.connect()
        successor = trustme.CA()
        successor.cert_pem.write_to_path(own.cacertfile)
        broker.call(lambda: reload(broker.listener("ssl")))
        wire.send(PINGREQ)
        assert wire.read(2) == PINGRESP
    client = ssl.create_default_context()
    own.authority.configure_trust(client)
    own.authority.issue_cert("client.example").configure_cert(client)
    assert "UNKNOWN_CA" in refusal(port, client)
    successor.issue_cert("client.example").configure_cert(client)
    with secure(port, client) as wire:
        wire.connect()


def test_a_bad_file_changes_nothing(serve: Serve, tmp_path: Path) -> None:
    own = Certificates(tmp_path)
    broker = serve(listening(own.server))
    own.server.certfile.write_text("not a certificate")
    with pytest.raises(ListenError, match=r"^listener ssl: certificate .*server.pem: holds no certificate"):
        broker.call(lambda: reload(broker.listener("ssl")))
    with secure(broker.port("ssl"), own.client()) as wire:
        wire.connect()


def reload(listener: Listener) -> None:
    assert listener.settings.tls is not None
    listener.use_certificates(listener.load_certificates(listener.settings.tls))


# Files that do not fit.


def broken(certificates: Certificates, directory: Path) -> dict[str, tuple[TlsServer, str]]:
    good = certificates.server
    other = certificates.misnamed
    junk = directory / "junk.pem"
    junk.write_text("junk")
    key = load_pem_private_key(good.keyfile.read_bytes(), None)
    encrypted = directory / "encrypted.key"
    encrypted.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    missing = directory / "missing.pem"
    return {
        "no certificate": (
            replace(good, certfile=missing),
            f"certificate {missing}: No such file or directory",
        ),
        "no key": (replace(good, keyfile=missing), f"private key {missing}: No such file or directory"),
        "a directory": (replace(good, certfile=directory), f"certificate {directory}: Is a directory"),
        "junk certificate": (
            replace(good, certfile=junk),
            f"certificate {junk}: holds no certificate in PEM format",
        ),
        "junk key": (replace(good, keyfile=junk), f"private key {junk}: holds no private key in PEM format"),
        "certificate for key": (
            replace(good, keyfile=good.certfile),
            f"private key {good.certfile}: holds no private key in PEM format",
        ),
        "another's key": (
            replace(good, keyfile=other.keyfile),
            f"private key {other.keyfile}: does not belong to the certificate {good.certfile}",
        ),
        "password missing": (
            replace(good, keyfile=encrypted),
            f"private key {encrypted}: is encrypted and key_password is missing",
        ),
        "password wrong": (
            replace(good, keyfile=encrypted, key_password="guess"),
            f"private key {encrypted}: is encrypted and key_password is not right",
        ),
        "no CA named": (
            replace(good, verify_peer=True),
            "verify_peer needs cacertfile, which client certificates are checked against",
        ),
        "no CA": (
            replace(good, verify_peer=True, cacertfile=missing),
            f"CA certificate {missing}: No such file or directory",
        ),
        "junk CA": (
            replace(good, verify_peer=True, cacertfile=junk),
            f"CA certificate {junk}: holds no certificate in PEM format",
        ),
    }


CASES = (
    *("no certificate", "no key", "a directory", "junk certificate", "junk key", "certificate for key"),
    *("another's key", "password missing", "password wrong", "no CA named", "no CA", "junk CA"),
)


@pytest.mark.parametrize("case", CASES)
def test_a_file_that_does_not_fit_is_named(certificates: Certificates, tmp_path: Path, case: str) -> None:
    cases = broken(certificates, tmp_path)
    assert set(cases) == set(CASES)
    tls, message = cases[case]
    with pytest.raises(ListenError) as caught:
        server_context("ssl", tls)
    assert str(caught.value) == message


def test_the_start_fails_with_the_listener_s_name(serve: Serve, certificates: Certificates) -> None:
    tls = replace(certificates.server, certfile=Path("nowhere.pem"))
    with pytest.raises(ListenError, match=r"^listener ssl.edge: certificate nowhere.pem: No such file"):
        serve(listening(tls, "ssl.edge"))


def test_an_encrypted_key_is_opened(serve: Serve, certificates: Certificates, tmp_path: Path) -> None:
    tls = replace(broken(certificates, tmp_path)["password wrong"][0], key_password="secret")
    broker = serve(listening(tls))
    with secure(broker.port("ssl"), certificates.client()) as wire:
        wire.connect()


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        (None, ""),
        ({}, ""),
        ({"subject": ((("organizationName", "x"),),)}, ""),
        ({"subject": ((("organizationName", "x"),), (("commonName", "device"),))}, "device"),
        ({"subject": ((("commonName", "first"), ("commonName", "second")),)}, "first"),
    ],
)
def test_common_name(certificate: dict[str, object] | None, name: str) -> None:
    assert common_name(certificate) == name
