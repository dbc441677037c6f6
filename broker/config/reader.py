"""Checks the sections of a file against the schema, and collects all errors."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from . import tree
from .errors import Problem
from .guard import may_guard
from .old.names import new_name
from .schema import ROWS, Row
from .settings import ConfigWarning
from .tree import Items, Node, Place, Section, Text
from .units import Kind, UnfitError, flag

_PREFIXES = {key.rsplit(".", cut)[0] for key in ROWS for cut in range(1, key.count(".") + 1)}


class Report:
    """The errors and warnings of one load."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._errors: list[tuple[Place, str, str]] = []
        self._warnings: list[tuple[Place, str, str]] = []
        self._without_effect: dict[str, list[tuple[Place, str]]] = {}

    def error(self, place: Place, key: str, message: str) -> None:
        self._errors.append((place, key, message))

    def warn(self, place: Place, key: str, message: str) -> None:
        self._warnings.append((place, key, message))

    def missing(self, section: Section, key: str, *, deep: bool = False) -> None:
        """The missing includes of a section; ``deep``: and of the sections in it."""
        for include in section.missing:
            self.error(include.place, key, include.message)
        if deep:
            for name, node in section.values.items():
                if isinstance(node, Section):
                    self.missing(node, f"{key}.{name}", deep=True)

    def without_effect(self, place: Place, key: str) -> None:
        """A key that is accepted and has no effect. A section has one warning for all such keys."""
        self._without_effect.setdefault(key.split(".")[0], []).append((place, key))

    def unknown(self, node: Node, key: str, siblings: list[str]) -> None:
        """A warning, or an error if the key may be meant to control access."""
        hint = _hint(key, siblings)
        if not may_guard(key, node):
            self.warn(node.place, key, f"unknown key, ignored{hint}")
            return
        what_to_do = hint or "; correct or remove it"
        why = "The broker does not start with it, because it may be meant to control access"
        self.error(node.place, key, f"unknown key{what_to_do}{'' if hint.endswith('?') else '.'} {why}")

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(Problem(str(place), key, message) for place, key, message in _in_order(self._errors))

    @property
    def warnings(self) -> tuple[ConfigWarning, ...]:
        found = list(self._warnings)
        for section, keys in self._without_effect.items():
            if keys[0][1] == section:
                message = "the section is accepted, without effect"
            else:
                names = dict.fromkeys(key[len(section) + 1 :] for _, key in keys)
                message = f"accepted, without effect: {', '.join(names)}"
            found.append((keys[0][0], section, message))
        return tuple(ConfigWarning(str(place), key, message) for place, key, message in _in_order(found))


def _hint(key: str, siblings: list[str]) -> str:
    """A suggestion of the intended key, for the end of a message."""
    if renamed := new_name(key):
        return f"; it is called {renamed} now"
    near = difflib.get_close_matches(key, siblings, 1, 0.75) or difflib.get_close_matches(key, ROWS, 1, 0.8)
    return f"; did you mean {near[0]}?" if near else ""


def _in_order(found: list[tuple[Place, str, str]]) -> list[tuple[Place, str, str]]:
    files = list(dict.fromkeys(place.file for place, _, _ in found))
    return sorted(dict.fromkeys(found), key=lambda entry: (files.index(entry[0].file), entry[0].line))


@dataclass(slots=True)
class Values:
    """The checked values of a section. A missing key has the default of its row."""

    schema: str
    """The prefix of its rows."""
    name: str
    """Its name in messages."""
    place: Place
    _found: dict[str, Any] = field(default_factory=dict)
    _places: dict[str, Place] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return self._found[key] if key in self._found else default(f"{self.schema}.{key}")

    def __contains__(self, key: str) -> bool:
        """Whether the section names the key, with a right or a wrong value."""
        return key in self._places

    def is_empty(self, key: str) -> bool:
        """Whether the section names the key with an empty list."""
        return self._found.get(key) == ()

    def place_of(self, key: str) -> Place:
        return self._places.get(key, self.place)

    def overlaid(self, others: Values, keys: Iterable[str]) -> Values:
        """These values, with those of ``keys`` that the other section names."""
        both = Values(self.schema, self.name, self.place, dict(self._found), dict(self._places))
        for key in keys:
            if key in others:
                both.put(key, others._found.get(key), others.place_of(key))
        return both

    def put(self, key: str, value: Any, place: Place) -> None:
        """Set the value of a key; None: it was refused."""
        self._places[key] = place
        if value is not None:
            self._found[key] = value


@cache
def default(key: str) -> Any:
    """The value of a key that is not given."""
    row = ROWS[key]
    if row.shape == "list":
        return tuple(row.kind.parse(word) for word in row.default.split(", ")) if row.default else ()
    if row.shape in ("map", "objects"):
        return ()
    return row.kind.parse(row.default) if row.default else None


def is_off(section: Section) -> bool:
    """Whether the section has ``enable = false``. A section that is off is not read, and its errors do not
    matter."""
    node = section.values.get("enable")
    try:
        return isinstance(node, Text) and not flag().parse(node.text)
    except ValueError:
        return False


def read(section: Section, schema: str, report: Report, name: str | None = None) -> Values:
    """Read a section whose rows begin with ``schema``. Errors go to the report."""
    values = Values(schema, name or schema, section.place)
    _Walk(values, report).section(section, "")
    return values


def existing_file(values: Values, key: str, report: Report, *, needed: bool = True) -> Path | None:
    """The file that a key names, beside the file that names it or else in the working directory. None if no
    file is named. A missing file is an error, or a warning if it is not ``needed``."""
    if values[key] is None:
        return None
    wanted, place = Path(values[key]), values.place_of(key)
    beside = place.file.parent if place.file else Path()
    reason = "no such file"
    for candidate in (beside / wanted, wanted):
        try:
            if candidate.is_file():
                if os.access(candidate, os.R_OK):
                    return candidate
                reason = "the file cannot be read"
        except (OSError, ValueError):
            continue
    tell = report.error if needed else report.warn
    tell(place, f"{values.name}.{key}", f'found "{wanted}"; {reason}')
    return None


class _Walk:
    def __init__(self, values: Values, report: Report) -> None:
        self.values = values
        self.report = report

    def section(self, section: Section, path: str) -> None:
        self.report.missing(section, self._name(path).rstrip("."))
        for key, node in section.values.items():
            relative = path + key
            row = ROWS.get(f"{self.values.schema}.{relative}")
            if row is not None:
                self._row(row, relative, node)
            elif f"{self.values.schema}.{relative}" not in _PREFIXES:
                self.report.unknown(node, self._name(relative), self._siblings(path))
            elif not isinstance(node, Section):
                self._wrong(node, relative, "a section { }")
            elif not is_off(node):
                self.values.put(relative, node, node.place)
                self.section(node, f"{relative}.")

    def _row(self, row: Row, relative: str, node: Node) -> None:
        if row.accepted and row.shape == "section":
            self.report.without_effect(node.place, self._name(relative))
            return
        match row.shape:
            case "one":
                value = self._one(row, relative, node)
            case "list":
                value = self._list(row, relative, node)
            case "map":
                value = self._map(row, relative, node)
            case "objects":
                value = self._objects(row, relative, node)
            case _:
                value = node
        self.values.put(relative, value, node.place)

    def _one(self, row: Row, relative: str, node: Node) -> Any:
        """The parsed value, or None after an error."""
        if not isinstance(node, Text):
            self._wrong(node, relative, row.kind.allowed)
            return None
        text = self._fill(node, relative) if row.environ else node.text
        if text is None:
            return None
        try:
            return row.kind.parse(text)
        except (ValueError, OverflowError) as error:
            shown = _shown(row.kind, node)
            tail = str(error) if isinstance(error, UnfitError) else f"allowed: {row.kind.allowed}"
            self.report.error(node.place, self._name(relative), f"found {shown}; {tail}")
            return None

    def _list(self, row: Row, relative: str, node: Node) -> tuple[Any, ...] | None:
        nodes = node.items if isinstance(node, Items) else (node,)
        values = [self._one(row, relative, item) for item in nodes]
        return None if None in values else tuple(values)

    def _map(self, row: Row, relative: str, node: Node) -> tuple[tuple[str, Any], ...] | None:
        if not isinstance(node, Section):
            self._wrong(node, relative, f"a section {{ name = {row.kind.unit} }}")
            return None
        self.report.missing(node, self._name(relative), deep=True)
        pairs = [(key, self._one(row, f"{relative}.{key}", leaf)) for key, leaf in node.leaves()]
        return tuple((key, value) for key, value in pairs if value is not None)

    def _objects(self, row: Row, relative: str, node: Node) -> tuple[Values, ...] | None:
        if not isinstance(node, Items):
            self._wrong(node, relative, "a list of sections [ { ... } ]")
            return None
        found = []
        for index, item in enumerate(node.items):
            if isinstance(item, Section):
                found.append(
                    read(item, row.items or f"{row.key}[]", self.report, f"{self._name(relative)}[{index}]")
                )
            else:
                self._wrong(item, f"{relative}[{index}]", "a section { ... }")
        return tuple(found)

    def _fill(self, node: Text, relative: str) -> str | None:
        """The text with ``${NAME}`` from the environment."""
        unset = [name for name in re.findall(r"\$\{([^}]*)\}", node.text) if name not in self.report.environ]
        for name in unset:
            self.report.error(node.place, self._name(relative), f"the environment variable {name} is not set")
        if unset:
            return None
        return re.sub(r"\$\{([^}]*)\}", lambda match: self.report.environ[match[1]], node.text)

    def _wrong(self, node: Node, relative: str, allowed: str) -> None:
        self.report.error(
            node.place, self._name(relative), f"found {tree.describe(node)}; allowed: {allowed}"
        )

    def _name(self, relative: str) -> str:
        return f"{self.values.name}.{relative}"

    def _siblings(self, path: str) -> list[str]:
        prefix = f"{self.values.schema}.{path}"
        names = {
            key[len(prefix) :].split(".")[0].removesuffix("[]") for key in ROWS if key.startswith(prefix)
        }
        return [self._name(path + name) for name in sorted(names)]


def _shown(kind: Kind, node: Text) -> str:
    if kind.shown is not None:
        return f'"{kind.shown(node.text)}"'
    return "a value that does not match" if kind.secret else tree.describe(node)
