"""Refuses a file of NanoMQ before 0.19, and names the keys that replace its own."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError, Problem
from ..tree import Items, Node, Place, Section
from .flat_lines import flat_lines
from .names import FLAT_TOPS, WITHOUT_EFFECT, instead, is_old

SHOWN = 8
"""Old keys that are told one by one."""


def refuse_lines(file: Path) -> None:
    """Raises ConfigError where it is in the flat format."""
    lines = flat_lines(file)
    if lines:
        _refuse(file, [(line.place, line.key) for line in lines if is_old(line.key)])


def refuse_tree(file: Path, root: Section) -> None:
    """For a file that was read as HOCON. Raises ConfigError where any of its keys is old."""
    found = list(old_keys(root))
    if found:
        refuse_lines(file)
        _refuse(file, found)


def old_keys(root: Section) -> Iterator[tuple[Place, str]]:
    """The old keys at the top of a file, flat or of 0.14 to 0.18, and those in the sections they make."""
    for key, node in root.values.items():
        if key in FLAT_TOPS:
            yield from _leaves(key, node)
        elif key in ("authentication", "authorization", "auth_http"):
            yield node.place, key
        elif key == "auth":
            yield from _in_auth(node)
        elif isinstance(node, Section):
            for below in _OLD_BELOW.get(key, ()):
                yield from _at(key, node, below)


_OLD_BELOW = {
    "acl": ("rule",),
    "mqtt": ("session",),
    "webhook": ("rule",),
    "bridges": ("mqtt.nodes", "aws.nodes"),
}


def _leaves(key: str, node: Node) -> Iterator[tuple[Place, str]]:
    if not isinstance(node, Section):
        yield node.place, key
        return
    for name, leaf in node.leaves(f"{key}."):
        yield leaf.place, name


def _in_auth(node: Node) -> Iterator[tuple[Place, str]]:
    if isinstance(node, Items):
        yield node.place, "auth"
    elif isinstance(node, Section):
        for name, below in node.values.items():
            if name.isdigit() or name == "http":
                yield from _leaves(f"auth.{name}", below)


def _at(key: str, section: Section, path: str) -> Iterator[tuple[Place, str]]:
    first, _, rest = path.partition(".")
    below = section.values.get(first)
    if below is not None and not rest:
        yield below.place, f"{key}.{first}"
    elif isinstance(below, Section):
        yield from _at(f"{key}.{first}", below, rest)


def _refuse(file: Path, found: list[tuple[Place, str]]) -> None:
    problems = [
        Problem(
            str(file),
            "",
            "a file of NanoMQ before 0.19, which this version does not read; "
            f"`pybroker convert {shlex.quote(str(file))} > new.conf` converts it",
        )
    ]
    told = [(place, key, instead(key)) for place, key in found if key not in WITHOUT_EFFECT] or [
        (place, key, None) for place, key in found
    ]
    problems += [
        Problem(str(place), key, f"an old key; write {words}" if words else "an old key; remove it")
        for place, key, words in told[:SHOWN]
    ]
    if len(told) > SHOWN:
        problems.append(Problem(str(file), "", f"and {len(told) - SHOWN} more old keys"))
    raise ConfigError(problems)
