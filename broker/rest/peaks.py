"""Maxima, and CPU use between two requests: values of NanoMQ that are not counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Peaks:
    """The maxima of the values at the times of the requests."""

    def __init__(self) -> None:
        self._most: dict[str, float] = {}
        self._cpu_at = (0.0, 0.0)

    def of(self, name: str, value: float) -> float:
        """The largest value of ``name`` so far, this one included."""
        most = self._most[name] = max(value, self._most.get(name, value))
        return most

    def cpu_percent(self, now: Mapping[str, Any]) -> float:
        """The use of one processor since the last call; 0 at the first."""
        before, spent_before = self._cpu_at
        self._cpu_at = at, spent = now["at"], now["cpu_seconds"]
        if not before or at <= before:
            return 0.0
        return float(100 * (spent - spent_before) / (at - before))
