"""Metrics in Prometheus' text format, a line for each value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, type and help, and a value for each set of labels."""

    name: str
    type: str
    help: str
    samples: Iterable[tuple[Mapping[str, str], float]]

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.type}"
        for labels, value in self.samples:
            yield sample(self.name, labels, value)


@dataclass(frozen=True, slots=True)
class Summary:
    """The sum and count of the measured values, for each set of labels."""

    name: str
    help: str
    samples: Iterable[tuple[Mapping[str, str], float, int]]

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} summary"
        for labels, total, count in self.samples:
            yield sample(f"{self.name}_sum", labels, total)
            yield sample(f"{self.name}_count", labels, count)


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value!r}" if inner else f"{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
