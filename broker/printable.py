"""Text from elsewhere, made fit for a terminal and a log."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """``text`` as one line: what would break it, move a cursor or turn the direction of reading is escaped,
    but for the characters in ``keep``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
