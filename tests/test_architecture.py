"""The import arrows of docs/architecture.md: a part imports what is listed for it, nothing else of ours."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .imports import ALL, LEAVES, ROOT, TOPS, circles, imports, room_arrows, within

PURE = {"broker.packets", "broker.protocol", "broker.session", "broker.routing", "broker.delivery"}
"""No I/O: the clock is handed in."""
IMPURE_MODULES = {
    "asyncio",
    "socket",
    "ssl",
    "time",
    "threading",
    "selectors",
    "aiohttp",
    "uvloop",
    "sqlite3",
}

ENGINE = {
    "broker.counters",
    "broker.delivery",
    "broker.hooks",
    "broker.packets",
    "broker.protocol",
    "broker.reports",
    "broker.routing",
    "broker.session",
}

ARROWS: dict[str, set[str]] = {
    "broker.packets": set(),
    "broker.events": set(),
    "broker.clock": set(),
    "broker.config.settings": {"broker.bridge.settings"},
    "broker.hooks": set(),
    "broker.counters": set(),
    "broker.routing": set(),
    "broker.reports": {"broker.counters", "broker.hooks", "broker.packets"},
    "broker.protocol": {"broker.packets"},
    "broker.session": {"broker.packets", "broker.routing"},
    "broker.delivery": {
        "broker.counters",
        "broker.packets",
        "broker.reports",
        "broker.routing",
        "broker.session",
    },
    "broker.engine": ENGINE,
    "broker.access": {
        "broker.engine",
        "broker.outgoing",
        "broker.packets",
        "broker.routing",
        "broker.session",
    },
    "broker.bridge": {
        "broker.client.websocket",
        "broker.engine",
        "broker.outgoing",
        "broker.packets",
        "broker.routing",
        "broker.session",
        "broker.transport",
    },
    "broker.bridge.mapping": {"broker.routing"},
    "broker.bridge.settings": {"broker.bridge.mapping", "broker.packets", "broker.session"},
    "broker.client": {"broker.packets"},
    "broker.cluster": {
        "broker.counters",
        "broker.delivery",
        "broker.engine",
        "broker.outgoing",
        "broker.packets",
        "broker.routing",
        "broker.session",
        "broker.state",
    },
    "broker.live": {
        "broker.engine",
        "broker.faults.frames",
        "broker.faults.seen",
        "broker.packets",
        "broker.routing",
        "broker.session",
    },
    "broker.faults": {"broker.engine", "broker.packets", "broker.routing", "broker.transport"},
    "broker.plugins": {
        "broker.engine",
        "broker.loop_clock",
        "broker.packets",
        "broker.routing",
        "broker.session",
        "broker.transport",
    },
    "broker.parts": {
        "broker.cluster",
        "broker.access",
        "broker.bridge",
        "broker.outgoing",
        "broker.engine",
        "broker.faults.frames",
        "broker.faults.seen",
        "broker.hooks",
        "broker.packets",
        "broker.part",
        "broker.plugins",
        "broker.routing",
        "broker.delivery",
        "broker.session",
        "broker.state",
        "broker.transport",
        "webhook",
    },
    "broker.outgoing": set(),
    "broker.part": set(),
    "broker.storage": set(),
    "broker.state": {
        "broker.delivery",
        "broker.engine",
        "broker.packets",
        "broker.routing",
        "broker.session",
        "broker.storage",
    },
    "broker.rest": {
        "broker.access.errors",
        "broker.bridge",
        "broker.outgoing",
        "broker.config",
        "broker.engine",
        "broker.faults",
        "broker.live",
        "broker.packets",
        "broker.part",
        "broker.routing",
        "broker.session",
        "broker.transport",
        "webhook.backends",
        "webhook.delivery",
        "webhook.metrics",
        "webhook.push",
        "webhook.sink",
        "webhook.spool",
    },
    "broker.config": {
        "broker.bridge.mapping",
        "broker.bridge.settings",
        "broker.faults.rules",
        "broker.outgoing",
        "broker.packets",
        "broker.routing.topics",
        "webhook",
    },
    "webhook": {"broker.outgoing", "broker.routing.topics", "broker.storage"},
    "webhook.settings": set(),
    "webhook.parcels": set(),
    "webhook.clock": set(),
    "webhook.loading": set(),
    "webhook.metrics": set(),
    "webhook.backend": {"broker.events", "webhook.parcels"},
    "webhook.complaints": {"webhook.clock"},
    "webhook.reports": {"webhook.metrics"},
    "webhook.body": {"webhook.parcels"},
    "webhook.http": {
        "broker.outgoing",
        "webhook.backend",
        "webhook.body",
        "webhook.clock",
        "webhook.parcels",
    },
    "webhook.push": {
        "broker.outgoing",
        "broker.storage",
        "webhook.backend",
        "webhook.body",
        "webhook.clock",
        "webhook.http",
        "webhook.parcels",
    },
    "webhook.backends": {
        "broker.outgoing",
        "broker.routing.topics",
        "webhook.backend",
        "webhook.body",
        "webhook.clock",
        "webhook.http",
        "webhook.loading",
        "webhook.parcels",
        "webhook.push",
    },
    "webhook.rules": {
        "broker.routing.topics",
        "webhook.body",
        "broker.outgoing",
        "webhook.loading",
        "webhook.parcels",
    },
    "webhook.spool": {
        "broker.storage",
        "webhook.backend",
        "webhook.clock",
        "webhook.complaints",
        "webhook.metrics",
        "webhook.parcels",
    },
    "webhook.delivery": {
        "broker.outgoing",
        "broker.routing.topics",
        "webhook.backend",
        "webhook.body",
        "webhook.clock",
        "webhook.complaints",
        "webhook.metrics",
        "webhook.parcels",
        "webhook.rules",
        "webhook.spool",
    },
}
"""Part to the parts it may import. What is not listed (`TOP`) may import anything."""

TOP = {"broker.app", "broker.process", "broker.commands", "broker.testing"}
"""Nobody below may import these."""


def part_of(module: str) -> str | None:
    found = [part for part in ARROWS if within(module, part)]
    return max(found, key=len) if found else None


every_module = pytest.mark.parametrize(("name", "path"), ALL, ids=[name for name, _ in ALL])


@every_module
def test_imports_point_downward(name: str, path: Path) -> None:
    part = part_of(name)
    if part is None:
        return
    for target in imports(name, path):
        if not any(within(target, top) for top in TOPS):
            continue
        allowed = {part, *LEAVES, *ARROWS[part]}
        ok = target == "broker.__version__" or any(within(target, one) for one in allowed)
        assert ok, f"{name} imports {target}, which {part} may not"


@every_module
def test_pure_packages_do_no_io(name: str, path: Path) -> None:
    if not any(within(name, part) for part in PURE):
        return
    for target in imports(name, path):
        assert target.split(".")[0] not in IMPURE_MODULES, f"{name} is pure but imports {target}"


@every_module
def test_nobody_imports_the_top(name: str, path: Path) -> None:
    if any(within(name, one) for one in TOP):
        return
    for target in imports(name, path):
        assert not any(within(target, one) for one in TOP), f"{name} imports {target}"


@every_module
def test_only_the_amqtt_modules_import_amqtt(name: str, path: Path) -> None:
    if name.startswith("broker.plugins.amqtt_"):
        return
    for target in imports(name, path):
        assert target.split(".")[0] != "amqtt", f"{name} imports {target}; only broker.plugins.amqtt_* may"


@pytest.mark.parametrize("folder", ["broker", "webhook", "pybroker", "tests", "scripts"])
def test_the_one_name_that_is_imported_is_pybroker(folder: str) -> None:
    """`import broker` works in a checkout, and loads everything a second time; installed it does not."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            assert not {name.split(".")[0] for name in names} & set(TOPS), f"{path}:{node.lineno}"


def test_no_room_is_part_of_a_circle() -> None:
    assert circles(room_arrows()) == []


def test_the_page_names_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:broker|webhook|scripts|tests)/[\w/.]*)`", page))
    assert len(paths) > 40
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_the_drawing_is_current() -> None:
    script = ROOT / "scripts" / "architecture"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
