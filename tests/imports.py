"""Who imports whom: read from the sources, for the test of the arrows and for their drawing."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOPS = ("broker", "webhook")
"""The folders of the source tree. Installed they are `pybroker.broker` and `pybroker.webhook`; the names here
leave `pybroker` out."""

LEAVES = {
    "broker.events",
    "broker.config.settings",
    "broker.clock",
    "broker.faults.fault",
    "broker.bad_requests",
    "broker.printable",
    "webhook.settings",
}
"""Plain data and types that anybody may import."""


def modules() -> Iterator[tuple[str, Path]]:
    for package in TOPS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(name: str, path: Path) -> Iterator[str]:
    """The absolute names of all modules imported, inside functions and TYPE_CHECKING too; ours without their
    `pybroker.`."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("pybroker.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").removeprefix("pybroker.")
            if node.level:
                anchor = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*anchor, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in NAMES or base in TOPS else base


def within(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


ALL = list(modules())
NAMES = {name for name, _ in ALL}


def room_of(module: str) -> str:
    """The folder that a module lies in; a module that lies in none is a room of its own."""
    if module in LEAVES:
        return "leaves"
    parts = module.split(".")
    return ".".join(parts[:2]) if (ROOT / "/".join(parts[:2])).is_dir() else module


def room_arrows() -> dict[str, set[str]]:
    """Room to the rooms that it imports, without the leaves."""
    found: dict[str, set[str]] = {}
    for name, path in ALL:
        if name in TOPS:
            continue
        room = found.setdefault(room_of(name), set())
        room |= {room_of(target) for target in imports(name, path) if target in NAMES and target not in TOPS}
    found.pop("leaves")
    return {room: targets - {room, "leaves"} for room, targets in found.items()}


def circles(arrows: Mapping[str, set[str]]) -> list[str]:
    """Those that import themselves by way of others."""
    return sorted(room for room in arrows if room in reached(arrows, room))


def reached(arrows: Mapping[str, set[str]], start: str) -> set[str]:
    """All that ``start`` imports, directly or not."""
    found: set[str] = set()
    wanted = [*arrows[start]]
    while wanted:
        room = wanted.pop()
        if room not in found:
            found.add(room)
            wanted += arrows.get(room, ())
    return found
