"""Reads the flat format as NanoMQ does: ``key=value``, one per line, without quotes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..tree import Place
from .names import FLAT_TOPS, instead

_LINE = re.compile(r"(?P<key>[A-Za-z_][\w.+/*-]*)\s*=\s*(?P<value>.*)")


@dataclass(frozen=True, slots=True)
class Line:
    """``key=value``; a ``#`` in the value is part of it."""

    key: str
    value: str
    place: Place


def flat_lines(file: Path) -> list[Line] | None:
    """The lines of a file in the flat format; None if it has another format, or cannot be read."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return None
    lines = []
    for number, words in enumerate(text.splitlines(), 1):
        words = words.strip()
        if not words or words.startswith("#"):
            continue
        match = _LINE.fullmatch(words)
        if match is None or words.endswith(("{", "[")):
            return None
        lines.append(Line(match["key"], match["value"].strip(), Place(file, number)))
    return lines if any(map(_is_of_it_alone, lines)) else None


def _is_of_it_alone(line: Line) -> bool:
    """Whether the key is in no newer format."""
    return line.key.split(".")[0] in FLAT_TOPS or (
        line.key.startswith(("auth.", "acl.")) and instead(line.key) is not None
    )
