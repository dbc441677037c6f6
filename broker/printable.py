"""Makes text from clients safe for a terminal and a log."""

from __future__ import annotations

import errno
import os
import re


def printable(text: str, keep: str = "") -> str:
    """``text`` as one line. Characters that end a line, move a cursor or change the reading direction are
    escaped, except those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def not_reached(error: OSError, where: str) -> str:
    """Why ``where`` (HOST:PORT) cannot be reached, in the words of the operating system. asyncio has words of
    its own, and joins the errors of several addresses."""
    codes = re.findall(r"\[Errno (\d+)\]", str(error)) or [str(error.errno or 0)]
    if set(codes) == {str(errno.ECONNREFUSED)}:
        return f"nothing listens at {where}"
    code = int(next(one for one in codes if one != str(errno.ECONNREFUSED)))
    why = os.strerror(code) if code > 0 else error.strerror or str(error) or type(error).__name__
    return f"{where} cannot be reached: {why}"
