"""The rows of `http_server`: the REST API and the page."""

from __future__ import annotations

from collections.abc import Iterator

from ..units import any_text, choice, flag, origin, path, size, text, whole
from .listeners import tls_server
from .row import Row, ignored, under


def rows() -> Iterator[Row]:
    loopback = "NanoMQ: 0.0.0.0. Without a password it is always 127.0.0.1."
    connections = "NanoMQ: its parallel workers."
    yield from under(
        "http_server",
        Row("enable", flag(), "true", "Off without this section."),
        Row("ip_addr", text(), "127.0.0.1", "The address to bind.", differs=loopback),
        Row("port", whole(0, 65535), "8081", "The port; 0 picks a free one."),
        Row("limit_conn", whole(1), "32", "Connections at a time.", differs=connections, reload=True),
        Row("parallel", whole(1), "", "Another name of `limit_conn`, used by NanoMQ's gateways."),
        Row("max_body", size(1), "1MB", "The largest body of a request.", reload=True),
        Row("username", any_text(), "", "Basic authentication.", reload=True),
        Row("password", any_text(secret=True), "", "Basic authentication.", reload=True),
        Row("auth_type", choice("basic", "jwt", "no_auth"), "basic", "How clients authenticate."),
        Row("jwt.public.keyfile", path(), "", "The public key of tokens: RSA (RS256) or EC (ES256), PEM."),
        Row("tls.enable", flag(), "true", "False: ignore `tls`.", ours=True),
    )
    yield from under(
        "http_server",
        Row("token", any_text(secret=True), "", "A bearer token for scripts, in addition to the password."),
        Row("read_only.username", any_text(), "", "A user that may only read."),
        Row("read_only.password", any_text(secret=True), "", "The password of that user."),
        Row(
            "read_only.token",
            any_text(secret=True),
            "",
            "A bearer token that may only read, such as for Prometheus.",
        ),
        Row("cors_origins", origin(), "", "Web pages of other sites that may ask.", "list"),
        Row("max_streams", whole(1), "16", "Open streams of events at a time; each open page has one."),
        ours=True,
        reload=True,
    )
    yield from tls_server("http_server.tls", ours=True)
    yield ignored("http_server.jwt.private.keyfile", "pybroker checks tokens and does not make them.")
