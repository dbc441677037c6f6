"""Docstrings as Markdown: examples with Python's prompt become blocks of code."""

from __future__ import annotations

import re
from typing import Any

import griffe

PROMPT = re.compile(r"^(?:(?:>>>|\.\.\.)(?: .*)?\n?)+", re.MULTILINE)


class Prompts(griffe.Extension):
    """Run by mkdocstrings for each object that has a docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = PROMPT.sub(fenced, obj.docstring.value)


def fenced(block: re.Match[str]) -> str:
    lines = [line[4:] for line in block[0].splitlines()]
    return "\n".join(["```python", *lines, "```", ""])
