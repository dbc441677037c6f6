"""Headers that are sent, for eyes and logs: without secrets."""

from __future__ import annotations

import re

from ..parcels import Headers
from ..settings import WebhookSettings

MASKED = "******"
_PLAIN = frozenset({"accept", "content-encoding", "content-language", "content-type", "user-agent"})
"""Headers of the configuration that are no secret."""
_SECRET = re.compile("auth|cookie|credential|key|passw|secret|signature|token")
"""In the name of a header that may be one."""


def shown_headers(headers: Headers, settings: WebhookSettings) -> list[tuple[str, str]]:
    """``headers`` with ``******`` in place of what may be a secret: what the configuration sets, and what is
    called like one. An address (``:routing-key``) is none."""
    configured = {name.lower() for name, _ in settings.headers} - _PLAIN
    return [
        (name, MASKED if name[:1] != ":" and (name in configured or _SECRET.search(name)) else value)
        for name, value in ((name.lower(), value) for name, value in headers)
    ]
