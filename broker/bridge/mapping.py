"""From the topics of one broker to those of the other, as NanoMQ does it."""

from __future__ import annotations

from dataclasses import dataclass

from ..routing.topics import filter_error, has_wildcard, matches, topic_error


class MappingError(ValueError):
    """The topics of a mapping do not fit together; the message says why."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """What becomes of the topics that match ``source``.

    An empty ``target`` keeps the topic. A target without wildcards takes all messages into one topic. One
    with wildcards has to be a part of the source filter, and keeps the levels that this part matches.
    """

    source: str
    target: str = ""
    prefix: str = ""
    suffix: str = ""
    _kept: int = -1
    """The level of the source filter where the target begins; -1: the target has no wildcard."""

    @classmethod
    def of(cls, source: str, target: str = "", prefix: str = "", suffix: str = "") -> Mapping:
        """Raises MappingError."""
        if error := filter_error(source):
            raise MappingError(f'"{source}": {error}')
        for name, text in (("prefix", prefix), ("suffix", suffix)):
            if has_wildcard(text):
                raise MappingError(f'the {name} "{text}" must not have the wildcards + and #')
        kept = -1
        if has_wildcard(target):
            if error := filter_error(target):
                raise MappingError(f'"{target}": {error}')
            kept = _part_at(source.split("/"), target.split("/"))
            if kept < 0:
                raise MappingError(
                    f'"{target}" has a wildcard, so it must be a part of "{source}", level by level'
                )
        elif target and (error := topic_error(target)):
            raise MappingError(f'"{target}": {error}')
        mapping = cls(source, target, prefix, suffix, kept)
        if (example := mapping.example()) and (error := topic_error(mapping.map(example))):
            raise MappingError(f'"{example}" becomes "{mapping.map(example)}": {error}')
        return mapping

    def matches(self, topic: str) -> bool:
        return matches(self.source, topic)

    def map(self, topic: str) -> str:
        """The other side's topic; it is empty where ``a/#`` became ``#`` and the topic is ``a`` itself."""
        if self._kept >= 0:
            levels = topic.split("/")[self._kept :]
            wanted = self.target.split("/")
            middle = "/".join(levels if wanted[-1] == "#" else levels[: len(wanted)])
        else:
            middle = self.target or topic
        return self.prefix + middle + self.suffix

    def target_filter(self) -> str:
        """A topic filter that all mapped topics match. It may match others, where prefix or suffix join a
        wildcard within one level."""
        levels = []
        for level in f"{self.prefix}{self.target or self.source}{self.suffix}".split("/"):
            if "#" in level:
                levels.append("#")
                break
            levels.append("+" if "+" in level else level)
        return "/".join(levels)

    def example(self) -> str:
        """A topic that matches."""
        levels = self.source.split("/")
        return "/".join({"+": "device", "#": "some/topic"}.get(level, level) for level in levels)

    def in_words(self) -> str:
        """For people, with an example."""
        example = self.example()
        here = f"{self.prefix}{self.target or '(the same topic)'}{self.suffix}"
        return f"{self.source} -> {here}, such as {example} -> {self.map(example)}"


def _part_at(levels: list[str], part: list[str]) -> int:
    """Where ``part`` begins within ``levels``, the first time; -1: it is no part."""
    for start in range(len(levels) - len(part) + 1):
        if levels[start : start + len(part)] == part:
            return start
    return -1
