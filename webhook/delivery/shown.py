"""What is sent, for eyes and logs: without secrets."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from ..parcels import Headers
from ..settings import WebhookSettings

MASKED = "******"
_PLAIN = frozenset({"accept", "content-encoding", "content-language", "content-type", "user-agent"})
"""Headers of the configuration that are no secret."""
_SECRET = re.compile("auth|cookie|credential|key|passw|secret|signature|token")
"""In the name of a header that may be one."""

_TOKEN = re.compile(r"(?=[^/]*[0-9])[^/]{17,}")
"""A part of a path that may be a secret: chat services put them there."""


def shown_url(url: str) -> str:
    """``url`` for eyes and logs: without user and password, and with ``***`` in place of what may be another
    secret: the values of the query, long parts of the path that have a digit. Several have commas between."""
    return ", ".join(map(_shown, url.split(" ")))


def _shown(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = re.sub(r"(^|&)([^&=]*=)?[^&]+", r"\1\2***", parts.query)
    return urlunsplit((parts.scheme, host, _TOKEN.sub("***", parts.path), query, ""))


def shown_headers(headers: Headers, settings: WebhookSettings) -> list[tuple[str, str]]:
    """``headers`` with ``******`` in place of what may be a secret: what the configuration sets, and what is
    called like one. An address (``:routing-key``) is none."""
    configured = {name.lower() for name, _ in settings.headers} - _PLAIN
    return [
        (name, MASKED if name[:1] != ":" and (name in configured or _SECRET.search(name)) else value)
        for name, value in ((name.lower(), value) for name, value in headers)
    ]
