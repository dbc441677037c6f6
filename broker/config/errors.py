"""The errors of a configuration, one line each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One error that prevents the start of the broker."""

    where: str
    """``file:line``, the file alone, or ``command line``."""
    key: str
    """The dotted key; empty if the error is in the text itself."""
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used. ``str()`` has one line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
