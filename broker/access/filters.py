"""Set operations on topic filters: what one covers, and what two have in common (MQTT 5.0 section 4.7)."""

from __future__ import annotations

from enum import Enum
from typing import Literal


class Wildcard(Enum):
    """A wildcard level. It is not a string, because a name that is filled in may be ``+``."""

    ONE = "+"
    ALL = "#"


Level = str | Wildcard
Levels = tuple[Level, ...]

_WILDCARDS: dict[str, Level] = {"+": Wildcard.ONE, "#": Wildcard.ALL}
_ONE: Literal[Wildcard.ONE] = Wildcard.ONE
_ALL: Literal[Wildcard.ALL] = Wildcard.ALL


def filter_levels(topic_filter: str) -> Levels:
    """The levels of a topic filter."""
    return tuple(_WILDCARDS.get(level, level) for level in topic_filter.split("/"))


def name_levels(topic: str) -> Levels:
    """The levels of a topic name, all of them text."""
    return tuple(topic.split("/"))


def covers(wide: Levels, narrow: Levels) -> bool:
    """Whether every topic that matches ``narrow`` matches ``wide`` too. A topic name is its own filter."""
    if _is_hidden(wide, narrow):
        return False
    for index, level in enumerate(wide):
        if level is _ALL:
            return True
        if index >= len(narrow) or narrow[index] is _ALL:
            return False
        if level is not _ONE and level != narrow[index]:
            return False
    return len(wide) == len(narrow)


def overlap(one: Levels, other: Levels) -> bool:
    """Whether there is a topic that matches both."""
    if _is_hidden(one, other) or _is_hidden(other, one):
        return False
    for index in range(max(len(one), len(other)) + 1):
        a = one[index] if index < len(one) else None
        b = other[index] if index < len(other) else None
        if a is _ALL or b is _ALL:
            return True
        if a is None or b is None:
            return a is b
        if _ONE not in (a, b) and a != b:
            return False
    return True


def _is_hidden(levels: Levels, other: Levels) -> bool:
    """A wildcard at the start does not match a topic that begins with ``$`` [MQTT-4.7.2-1]."""
    return isinstance(levels[0], Wildcard) and isinstance(other[0], str) and other[0][:1] == "$"
