"""The blocks of code of a page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "index.md",
    "install.md",
    "deployment.md",
    "migrating.md",
    "plugins.md",
    "upgrading.md",
    "troubleshooting.md",
]
"""Those whose blocks are checked here. The other pages have tests beside what they describe."""

BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>.*?) -->\n)?^(?P<indent> *)```(?P<kind>\w*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    page: str
    kind: str
    mark: str
    """What a comment before the block says of it, such as `runs: fleet`."""
    code: str
    line: int


def text(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    source = text(page)
    return [
        Block(
            page,
            found["kind"],
            found["mark"] or "",
            dedent(found["code"]),
            source.count("\n", 0, found.start("code")),
        )
        for found in BLOCK.finditer(source)
    ]


ALL = [block for page in PAGES for block in blocks(page)]


def of(kind: str) -> list[Block]:
    return [block for block in ALL if block.kind == kind]


def marked(mark: str) -> Block:
    (found,) = [block for block in ALL if block.mark == mark]
    return found
