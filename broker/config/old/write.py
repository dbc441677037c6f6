"""Writes sections as the text of a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from .errors import ConvertError

Tree: TypeAlias = dict[str, Any]
"""Sections: each value is a text, a list, or again sections."""

_BARE_KEY = re.compile(r"[A-Za-z_][\w-]*")
_BARE_VALUE = re.compile(r"true|false|on|off|\d+(?:\.\d+)?[a-zA-Z]*")
_INDENT = "    "


def put(tree: Tree, path: str | tuple[str, ...], value: Any) -> None:
    """Set a value; a path of text is cut at its dots. Raises ConvertError where a section is in the way, or a
    value where a section should be."""
    parts = tuple(path.split(".")) if isinstance(path, str) else path
    for name in parts[:-1]:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            break
    if not isinstance(tree, dict) or (
        parts[-1] in tree and isinstance(tree[parts[-1]], dict) is not isinstance(value, dict)
    ):
        raise ConvertError(f"{'.'.join(parts)}: written as a value and as a section; keep one of them")
    tree[parts[-1]] = value


def text_of(tree: Mapping[str, Any]) -> str:
    """The sections of a file, an empty line between them."""
    return "\n".join("".join(f"{line}\n" for line in _member(key, value)) for key, value in tree.items())


def _member(key: str, value: Any) -> Iterator[str]:
    name = key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
    if isinstance(value, Mapping):
        yield f"{name} {{"
        for below, node in value.items():
            yield from (f"{_INDENT}{line}" for line in _member(below, node))
        yield "}"
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        yield f"{name} = ["
        yield from (f"{_INDENT}{_inline(item)}" for item in value)
        yield "]"
    else:
        yield f"{name} = {_inline(value)}"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        members = (f"{json.dumps(key, ensure_ascii=False)}: {_inline(item)}" for key, item in value.items())
        return f"{{ {', '.join(members)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    text = str(value)
    return text if _BARE_VALUE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
