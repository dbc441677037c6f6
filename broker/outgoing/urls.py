"""URLs for logs and displays, without secrets."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_TOKEN = re.compile(r"(?=[^/]*[0-9])[^/]{17,}")
"""A part of a path that may be a secret: chat services put them there."""


def shown_url(url: str) -> str:
    """``url`` without secrets, for display and logs: without user and password, and with ``***`` in place of
    the values of the query and of long parts of the path that have a digit. There may be several URLs with
    commas between them. Text that is not a URL is accepted."""
    return ", ".join(map(_shown, url.split(" ")))


def _shown(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.partition('//')[0]}//***"
    host, path = parts.netloc.rpartition("@")[2], parts.path
    if "@" in path:  # a password, where what should be before it is missing
        path = f"***@{path.rpartition('@')[2]}"
    query = re.sub(r"(^|&)([^&=]*=)?[^&]+", r"\1\2***", parts.query)
    return urlunsplit((parts.scheme, host, _TOKEN.sub("***", path), query, ""))
