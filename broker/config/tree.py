"""A configuration file as values with their places. Nothing is interpreted here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

_NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a value. Line 0: the file as a whole; no file: the command line."""

    file: Path | None = None
    line: int = 0

    def __str__(self) -> str:
        if self.file is None:
            return "command line"
        return f"{self.file}:{self.line}" if self.line else str(self.file)


@dataclass(frozen=True, slots=True)
class Text:
    """A single value, as written. ``quoted`` tells ``"1"`` from ``1``."""

    text: str
    place: Place
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """``[ ... ]``"""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class MissingInclude:
    """An include that could not be read. It is an error only if its section is used."""

    place: Place
    message: str


@dataclass(slots=True)
class Section:
    """``{ ... }``. Sections with the same name were merged; ``place`` is that of the last one."""

    place: Place
    values: dict[str, Node] = field(default_factory=dict)
    missing: list[MissingInclude] = field(default_factory=list)

    def section(self, key: str) -> Section | None:
        """The section of that name; None if there is none, or it is not a section."""
        node = self.values.get(key)
        return node if isinstance(node, Section) else None

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Node]]:
        """Every value that is not a section, by its dotted key. ``a.b = 1`` and ``"a.b" = 1`` give the same
        key."""
        for key, node in self.values.items():
            if isinstance(node, Section):
                yield from node.leaves(f"{prefix}{key}.")
            else:
                yield prefix + key, node

    def put(self, path: str, value: object, place: Place) -> None:
        """Set a dotted key to a plain Python value, and replace the old value."""
        first, _, rest = path.partition(".")
        if not rest:
            self.values[first] = from_python(value, place)
            return
        below = self.section(first)
        if below is None:
            below = self.values[first] = Section(place)
        below.put(rest, value, place)


Node: TypeAlias = Text | Items | Section


def from_python(value: object, place: Place) -> Node:
    """A plain Python value as if it were written at ``place``."""
    if isinstance(value, Mapping):
        return Section(place, {str(key): from_python(item, place) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return Items(tuple(from_python(item, place) for item in value), place)
    if isinstance(value, bool):
        return Text("true" if value else "false", place)
    return Text(str(value), place, quoted=isinstance(value, str))


def to_python(node: Node) -> object:
    """Plain values for a section whose keys are unknown. Unquoted values may be numbers, true or false."""
    if isinstance(node, Section):
        return {key: to_python(item) for key, item in node.values.items()}
    if isinstance(node, Items):
        return [to_python(item) for item in node.items]
    if node.quoted:
        return node.text
    if node.text in ("true", "false"):
        return node.text == "true"
    if _NUMBER.fullmatch(node.text):
        return float(node.text) if set(node.text) & set(".eE") else int(node.text)
    return node.text


def describe(node: Node) -> str:
    """Its name in error messages."""
    if isinstance(node, Section):
        return "a section { }"
    if isinstance(node, Items):
        return "a list [ ]"
    return f'"{node.text}"'
