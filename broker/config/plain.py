"""Reads marked text that only sets and merges keys, without pyhocon, a hundred times as fast. Most files are
like that, including those with thousands of users."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

Tree: TypeAlias = dict[str, Any]

_LINE = re.compile(
    r"""(?: (?P<path>\w+(?:\.\w+)*) [ ] = [ ]+ )?
        (?: (?P<value>"<\d+>"(?:[ ]*"<\d+>")*) | \{ | \[(?P<first>"<\d+>") | (?P<close>[}\]]) ) [ ]*""",
    re.X,
)


def read(text: str) -> Tree | None:
    """The result of pyhocon for a `MarkedText`. None if values refer to each other, sections or lists are
    joined, or one kind of value replaces another: pyhocon has to decide these."""
    root: Tree = {}
    into: Tree | list[Any] = root
    around: list[tuple[Tree | list[Any], str]] = []
    """For each open bracket: its container, and its key there."""
    for line in filter(None, text.split("\n")):
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        path, value, first, close = match.group("path", "value", "first", "close")
        if value:
            done = _put(into, path, value.replace('"', ""))
        elif close:
            inner = into
            into, path = around.pop()
            done = _put(into, path, inner)
        else:
            around.append((into, path))
            into = [first.strip('"')] if first else {}
            continue
        if not done:
            return None
    return root


def _put(into: Tree | list[Any], path: str | None, value: Any) -> bool:
    """Whether this is the whole text."""
    if isinstance(into, list):
        into.append(value)
        return True
    assert path is not None
    *sections, last = path.split(".")
    for name in sections:
        into = into.setdefault(name, {})
        if not isinstance(into, dict):
            return False
    old = into.get(last)
    if isinstance(old, dict) and isinstance(value, dict):
        return all(_put(old, key, item) for key, item in value.items())
    if old is not None and type(old) is not type(value):
        return False
    into[last] = value
    return True
