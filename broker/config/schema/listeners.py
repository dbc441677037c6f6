"""The rows of `listeners`. Each ``listeners.tcp.NAME`` has the keys of ``listeners.tcp``, and so on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..units import bind, choice, flag, number, path, text, whole
from .row import Row, under


def rows() -> Iterator[Row]:
    yield from _listener("tcp", "MQTT over TCP", 1883)
    yield from _listener("ssl", "MQTT over TLS", 8883, secure=True)
    yield from _listener("ws", "MQTT over WebSocket", 8083, url_path="/mqtt")
    yield from _listener("wss", "MQTT over WebSocket and TLS", 8084, url_path="/mqtt", secure=True)
    yield from under(
        "listeners.unix",
        Row("enable", flag(), "true", "Listen on a unix socket. Off without this section."),
        Row("path", path(), "", "The file of the socket; the broker creates it at start."),
        Row("bind", path(), "", "The same as `path`."),
        ours=True,
    )
    yield from _bounds("listeners.unix")


def _listener(
    kind: str, words: str, port: int, *, url_path: str | None = None, secure: bool = False
) -> Iterator[Row]:
    prefix, tail = f"listeners.{kind}", url_path or ""
    nanomq = (
        "NanoMQ: 0.0.0.0:8086/mqtt; its documents say 8084."
        if kind == "wss"
        else f"NanoMQ: 0.0.0.0:{port}{tail}."
    )
    where = "Host and port; port 0 picks a free one."
    if tail:
        where = (
            f"Host and port, and a path; without one `{tail}` and `/` are served. Port 0 picks a free one."
        )
    yield Row(f"{prefix}.enable", flag(), "true", f"Listen for {words}. Off without this section.")
    yield Row(f"{prefix}.bind", bind(port, path=url_path), f"127.0.0.1:{port}{tail}", where, differs=nanomq)
    if secure:
        otherwise = " Without it, that of `listeners.ssl`." if kind == "wss" else ""
        yield from tls_server(prefix, otherwise, reload=True)
        common_name = "`cn`: the common name of the client's certificate is its user name."
        yield Row(f"{prefix}.peer_cert_as_username", choice("cn"), "", common_name, ours=True)
    yield from _bounds(prefix)
    proxy = "Connections begin with a PROXY protocol header (v1 or v2) that names the client."
    yield Row(f"{prefix}.proxy_protocol", flag(), "false", proxy, ours=True)


def tls_server(prefix: str, otherwise: str = "", **common: Any) -> Iterator[Row]:
    """The certificate of an address that is served, and who may come."""
    refuse = "With `verify_peer`: refuse a client without a certificate."
    yield from under(
        prefix,
        Row("keyfile", path(), "", f"The private key, PEM.{otherwise}"),
        Row("certfile", path(), "", f"The certificate with its chain, PEM.{otherwise}"),
        Row(
            "cacertfile", path(), "", "The CA certificates that client certificates are checked against, PEM."
        ),
        Row("key_password", text(secret=True), "", "The password of an encrypted private key."),
        Row("verify_peer", flag(), "false", "Ask clients for a certificate and check it."),
        Row("fail_if_no_peer_cert", flag(), "false", refuse),
        **common,
    )


def _bounds(prefix: str) -> Iterator[Row]:
    yield from under(
        prefix,
        Row(
            "max_connections",
            whole(1),
            "",
            "Connected clients of this listener, within `limits.max_connections`.",
            reload=True,
        ),
        Row(
            "connect_rate",
            number(),
            "",
            "New connections per second, instead of `limits.connect_rate`.",
            reload=True,
        ),
        Row(
            "backlog", whole(1, 65535), "1024", "Connections that the system queues until they are accepted."
        ),
        ours=True,
    )
