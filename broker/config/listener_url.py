"""Listeners written as URLs: NanoMQ's ``--url``, its environment variables and its old files."""

from __future__ import annotations

KINDS = {
    "mqtt": "tcp",
    "nmq-tcp": "tcp",
    "broker+tcp": "tcp",
    "tcp": "tcp",
    "mqtts": "ssl",
    "tls+nmq-tcp": "ssl",
    "nmq-tls": "ssl",
    "nmq+tls": "ssl",
    "ws": "ws",
    "nmq-ws": "ws",
    "wss": "wss",
    "nmq-wss": "wss",
}
"""The schemes, and the kind of listener for each."""


def listener_of_url(url: str) -> tuple[str, str]:
    """The kind of listener, and the address to bind. Raises ValueError with the expected form."""
    scheme, separator, bind = url.partition("://")
    kind = KINDS.get(scheme)
    if not separator or kind is None or not bind:
        raise ValueError(f"{url}: write SCHEME://HOST:PORT with one of {', '.join(KINDS)}")
    return kind, bind
