"""What `make docs` would refuse: a page that the navigation leaves out, a link that leads nowhere."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from .blocks import BLOCK, ROOT

DOCS = ROOT / "docs"
ALL = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
OUTSIDE = {"changelog.md", "contributing.md"}
"""Pages of the site that are made of files elsewhere."""


class Loader(yaml.SafeLoader):
    """Reads over the tags of mkdocs."""


Loader.add_multi_constructor("", lambda loader, suffix, node: None)
Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for one in (nav.values() if isinstance(nav, dict) else nav) for page in pages(one)]


def anchors(page: str) -> set[str]:
    """Of the headings, as GitHub and the site make them."""
    source = BLOCK.sub("", (DOCS / page).read_text(encoding="utf-8"))
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.*)$", source, re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def test_the_navigation_has_every_page_once() -> None:
    nav = pages(yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"])
    assert sorted(nav) == sorted([*ALL, *OUTSIDE])


@pytest.mark.parametrize("page", ALL)
def test_each_link_leads_somewhere(page: str) -> None:
    source = BLOCK.sub("", (DOCS / page).read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", source):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (DOCS / page).parent / path if path else DOCS / page
        assert file.exists(), f"{page}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(str(Path(file).resolve().relative_to(DOCS))), f"{page}: {target}"
