"""Listeners behind a proxy that announces its clients."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

import pytest

from pybroker.broker.config.settings import Limits, ListenerSettings
from pybroker.broker.transport.proxy_protocol import V2_SIGNATURE

from ..integration.support import wait_for
from .conftest import Certificates
from .support import PINGREQ, PINGRESP, BrokerThread, Wire, connect_packet
from .test_proxy_header import v1, v2
from .test_websocket import frame, request

Serve = Callable[..., BrokerThread]
TCP = ListenerSettings("tcp", "tcp", port=0, proxy_protocol=True)
HEADERS = [
    pytest.param(v1("TCP4 203.0.113.7 192.0.2.1 4711 1883"), "203.0.113.7:4711", id="v1"),
    pytest.param(v2("2001:db8::7", more=bytes(1500)), "[2001:db8::7]:4711", id="v2"),
    pytest.param(v2(command=0), "127.0.0.1:", id="local"),
]


def peer(broker: BrokerThread) -> str:
    (channel,) = broker.call(lambda: list(broker.app.engine.channels))
    return str(channel.client.peer)


@pytest.mark.parametrize(("header", "announced"), HEADERS)
def test_the_announced_address_is_the_client_s(serve: Serve, header: bytes, announced: str) -> None:
    broker = serve(TCP)
    with Wire.to(broker.port("tcp")) as wire:
        wire.send(header + connect_packet() + PINGREQ)
        assert wire.read(6) == b"\x20\x02\x00\x00" + PINGRESP
        assert peer(broker).startswith(announced)


@pytest.mark.parametrize(("header", "announced"), HEADERS)
def test_a_header_may_come_in_single_bytes(serve: Serve, header: bytes, announced: str) -> None:
    broker = serve(TCP)
    with Wire.to(broker.port("tcp")) as wire:
        for byte in header[:60]:
            wire.send(bytes([byte]))
        wire.send(header[60:])
        wire.connect()
        assert peer(broker).startswith(announced)


@pytest.mark.parametrize("kind", ["ssl", "ws", "wss"])
def test_the_header_comes_before_everything_else(serve: Serve, certificates: Certificates, kind: str) -> None:
    tls = certificates.server if kind != "ws" else None
    broker = serve(ListenerSettings(kind, kind, port=0, tls=tls, proxy_protocol=True))
    with Wire.to(broker.port(kind)) as wire:
        wire.send(v1("TCP4 203.0.113.7 192.0.2.1 4711 1883"))
        if tls is not None:
            wire.socket = certificates.client().wrap_socket(wire.socket, server_hostname="localhost")
        if kind == "ssl":
            wire.connect()
        else:
            wire.send(request())
            assert wire.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
            wire.send(frame(connect_packet()))
            assert wire.read(6) == frame(b"\x20\x02\x00\x00", mask=False)
        assert peer(broker) == "203.0.113.7:4711"


def test_a_client_certificate_is_seen_behind_a_proxy(serve: Serve, certificates: Certificates) -> None:
    from dataclasses import replace

    tls = replace(
        certificates.server, verify_peer=True, fail_if_no_peer_cert=True, cacertfile=certificates.cacertfile
    )
    broker = serve(
        ListenerSettings("ssl", "ssl", port=0, tls=tls, proxy_protocol=True, peer_cert_as_username="cn")
    )
    with Wire.to(broker.port("ssl")) as wire:
        wire.send(v1("UNKNOWN"))
        wire.socket = certificates.client("device").wrap_socket(wire.socket, server_hostname="localhost")
        wire.connect()
        (channel,) = broker.call(lambda: list(broker.app.engine.channels))
        assert channel.client.username == "device"


@pytest.mark.parametrize(
    "garbage", [connect_packet(), b"PROXY TCP4 nonsense\r\n", V2_SIGNATURE + b"\xff\xff\xff\xff"]
)
def test_who_does_not_announce_is_closed(
    serve: Serve, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pybroker")
    broker = serve(TCP)
    with Wire.to(broker.port("tcp")) as wire:
        wire.send(garbage)
        assert wire.read_to_end() == b""
    wait_for(lambda: "listener tcp: a connection was closed: it" in caplog.text, "a log line")
    assert not broker.app.engine.channels


def test_who_announces_too_late_is_closed(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pybroker")
    broker = serve(TCP, limits=Limits(connect_timeout=0.1))
    with Wire.to(broker.port("tcp")) as wire:
        wire.send(b"PROXY ")
        assert wire.read_to_end() == b""
    wait_for(lambda: "no whole PROXY header came in time" in caplog.text, "a log line")


def test_a_health_check_leaves_no_trace(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pybroker")
    broker = serve(TCP)
    Wire.to(broker.port("tcp")).socket.close()
    with Wire.to(broker.port("tcp")) as wire:
        wire.send(v1("UNKNOWN"))
        wire.connect()
        assert all(message.startswith("client wire connected") for message in caplog.messages)


def test_a_failed_handshake_behind_a_proxy_is_over(
    serve: Serve, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pybroker")
    broker = serve(ListenerSettings("ssl", "ssl", port=0, tls=certificates.server, proxy_protocol=True))
    with Wire.to(broker.port("ssl")) as wire:
        wire.send(v1("UNKNOWN"))
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(wire.socket, server_hostname="localhost")
    wait_for(lambda: "TLS handshake failed" in caplog.text, "a log line")
    assert "never retrieved" not in caplog.text


def test_clients_stay_when_the_broker_accepts_nobody_more(serve: Serve) -> None:
    broker = serve(TCP)
    with Wire.to(broker.port("tcp")) as wire, Wire.to(broker.port("tcp")) as waiting:
        wire.send(v1("UNKNOWN"))
        wire.connect()
        broker.call(broker.listener("tcp").close)
        assert waiting.read_to_end() == b""
        wire.send(PINGREQ)
        assert wire.read(2) == PINGRESP
        with pytest.raises(ConnectionError):
            Wire.to(broker.port("tcp"))
