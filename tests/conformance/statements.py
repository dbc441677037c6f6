"""The statements of the specifications, and the tests that carry their identifiers."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent
ROOT = TESTS.parent
FILES = {"3.1.1": "statements_311.toml", "5.0": "statements_50.toml"}
MARKER = "mqtt"


@dataclass(frozen=True)
class Statement:
    version: str
    """``3.1.1`` or ``5.0``: both number many statements alike and mean different ones."""
    id: str
    says: str
    client: bool = False
    """Whether it binds clients only."""
    untested: str | None = None
    """Why no test can show it."""

    @property
    def name(self) -> str:
        """As markers have it."""
        return f"{self.version}:{self.id}"


@dataclass(frozen=True)
class MarkedTest:
    file: str
    """Relative to the root of the project."""
    line: int
    name: str
    shows: tuple[str, ...]


def statements() -> list[Statement]:
    """All of both specifications, in their order."""
    found = []
    for version, file in FILES.items():
        with (HERE / file).open("rb") as data:
            found += [Statement(version, **row) for row in tomllib.load(data)["statements"]]
    return found


def marked_tests() -> list[MarkedTest]:
    """Every test with the marker, read from the sources, whichever of them are selected to run."""
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                shows = tuple(name for decorator in node.decorator_list for name in _marked(decorator))
                if shows:
                    file = path.relative_to(ROOT).as_posix()
                    found.append(MarkedTest(file, node.lineno, node.name, shows))
    return found


def _marked(decorator: ast.expr) -> Iterator[str]:
    """The arguments of ``mqtt(...)`` or ``pytest.mark.mqtt(...)``, wherever in the decorator they stand."""
    for node in ast.walk(decorator):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name == MARKER:
                yield from (str(ast.literal_eval(argument)) for argument in node.args)
