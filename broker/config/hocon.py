"""Reads a HOCON file into a tree with line numbers.

`marked` explains why pyhocon gets another text, and `plain` reads most files without pyhocon.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import plain
from .errors import ConfigError, Problem
from .marked import MISSING_KEY, PLACE_KEY, MarkedText
from .scan import scan
from .tree import Items, MissingInclude, Node, Place, Section, Text

_MARK = re.compile(r"<(\d+)>")


def parse(
    file: Path, environ: Mapping[str, str] = os.environ, within: tuple[str, ...] = ()
) -> tuple[Section, list[Text]]:
    """The tree of a file and its includes, and the unquoted values that a ``#`` cut short.

    ``within`` is the section that the file fills, if it is not a whole configuration. Raises `ConfigError`
    for a file that cannot be read or parsed. A missing include is not an error here: it is noted in its
    section, for whoever uses the section.
    """
    marked = scan(file, environ, within)
    text = marked.finish()
    tree = plain.read(text)
    root = _Builder(marked).node(_by_pyhocon(text, marked, file) if tree is None else tree)
    assert isinstance(root, Section)
    return root, marked.cut_short


def _by_pyhocon(text: str, marked: MarkedText, file: Path) -> dict[str, Any]:
    # Imported here: it takes 60 ms, and most files and other commands do not need it.
    from pyhocon import ConfigFactory
    from pyhocon.exceptions import ConfigException
    from pyparsing import ParseBaseException

    try:
        parsed: dict[str, Any] = ConfigFactory.parse_string(text)
    except ParseBaseException as error:
        place = marked.place_of(error.lineno) or Place(file)
        raise ConfigError([Problem(str(place), "", "values that cannot be joined")]) from None
    except ConfigException as error:
        raise ConfigError([_explain(str(error), marked, file)]) from None
    return parsed


def _explain(message: str, marked: MarkedText, file: Path) -> Problem:
    """pyhocon's message with the names and lines of the file."""
    line = re.search(r"line: ?(\d+)", message)
    place = (marked.place_of(int(line[1])) if line else None) or Place(file)
    names = [".".join(marked.keys[int(part[1:])] for part in path.split(".")) for path in _paths(message)]
    if "Check for cycles" in message:
        return Problem(str(place), "", f"{' and '.join(f'${{{name}}}' for name in names)}: refers to itself")
    if "Cannot resolve variable" in message:
        name = names[0]
        return Problem(str(place), "", f"${{{name}}} is neither in the file nor in the environment")
    known = names[0] if names else ""
    return Problem(str(place), known, "values of different kinds (text, list, section) cannot be joined")


def _paths(message: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\bk\d+(?:\.k\d+)*", message)))


class _Builder:
    """Converts pyhocon's tree of keys and marks back to the written values."""

    def __init__(self, marked: MarkedText) -> None:
        self._marked = marked
        self._nowhere = Place()

    def node(self, value: Any) -> Node:
        if isinstance(value, dict):
            return self._section(value)
        if isinstance(value, list):
            return self._items(value)
        return self._text(str(value))

    def _section(self, values: dict[str, Any]) -> Section:
        section = Section(self._nowhere)
        for key, value in values.items():
            if key == PLACE_KEY or key.startswith(MISSING_KEY):
                mark = self._marks(value)[0]
                if isinstance(mark, Place):
                    section.place = mark
                elif isinstance(mark, MissingInclude):
                    section.missing.append(mark)
            elif not self._only_environment(key, value):
                node = self.node(value)
                # In HOCON null removes the value that was set before.
                if not (isinstance(node, Text) and node.text == "null" and not node.quoted):
                    section.values[self._marked.keys[int(key[1:])]] = node
        if section.place is self._nowhere:  # from a dotted key: a.b = 1 says nothing else about a
            section.place = next((node.place for node in section.values.values()), self._nowhere)
        return section

    def _only_environment(self, key: str, value: Any) -> bool:
        match = _MARK.fullmatch(value) if isinstance(value, str) else None
        return match is not None and self._marked.is_from_environment(key, int(match[1]))

    def _items(self, values: list[Any]) -> Items:
        """Each list begins with the mark of its place, also when lists were joined."""
        place, items = self._nowhere, []
        for value in values:
            mark = self._marks(value)[0] if isinstance(value, str) and _MARK.match(value) else None
            if isinstance(mark, Place):
                place = mark
            else:
                items.append(self.node(value))
        return Items(tuple(items), place)

    def _text(self, value: str) -> Text:
        marks = self._marks(value)
        if len(marks) == 1 and isinstance(marks[0], Text) and _MARK.fullmatch(value):
            return marks[0]
        place = next((mark.place for mark in marks if isinstance(mark, Text)), self._nowhere)
        joined = _MARK.sub(lambda match: _written(self._marked.marks[int(match[1])]), value).strip()
        plain = all(isinstance(mark, Text) and not mark.quoted for mark in marks)
        return Text(joined, place, quoted=not plain)

    def _marks(self, value: Any) -> list[Text | Place | MissingInclude]:
        return [self._marked.marks[int(number)] for number in _MARK.findall(str(value))]


def _written(mark: Text | Place | MissingInclude) -> str:
    return mark.text if isinstance(mark, Text) else ""
