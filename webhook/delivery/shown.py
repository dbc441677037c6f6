"""Headers of requests without their secrets, to be shown and logged."""

from __future__ import annotations

import re

from ..parcels import Headers
from ..settings import WebhookSettings

MASKED = "******"
_PLAIN = frozenset({"accept", "content-encoding", "content-language", "content-type", "user-agent"})
"""Headers of the configuration that are never secret."""
_SECRET = re.compile("auth|cookie|credential|key|passw|secret|signature|token")
"""Words in the name of a header that may be secret."""


def shown_headers(headers: Headers, settings: WebhookSettings) -> list[tuple[str, str]]:
    """``headers``, with ``******`` instead of values that may be secret: those that the configuration sets,
    and those whose name suggests it. An address (``:routing-key``) is not secret."""
    configured = {name.lower() for name, _ in settings.headers} - _PLAIN
    return [
        (name, MASKED if name[:1] != ":" and (name in configured or _SECRET.search(name)) else value)
        for name, value in ((name.lower(), value) for name, value in headers)
    ]
