"""The faults of a broker of several processes: all have the same ones, and count together how often each has
struck.

The first process changes them, for `pybroker faults` and HTTP. It tells the others the whole list, with a
version; the highest version holds. A process that begins anew is told by the others.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from .fault import Fault
from .rules import Faults, Rule

Say = Callable[[Any], None]
"""Tells the other processes something that JSON has words for, with the next flush of the engine."""


class SharedFaults:
    """What the other processes are told of our faults, and what they tell."""

    def __init__(self, faults: Faults, say: Say, known: Callable[[], Awaitable[Any] | None]) -> None:
        """``known`` sends what was said, and waits until the others have heard it."""
        self._faults = faults
        self._say = say
        self._own = os.urandom(8).hex()
        """By which the others tell our strikes from those of the process that was in our place before."""
        self._version = 0
        self._is_told = False
        self._take_down = faults.restart
        faults.watch(self._changed)
        faults.struck = self._struck
        faults.known = known
        faults.restart = self._restart

    def all(self) -> Any:
        """All there is to know, for a process that is there anew."""
        return {
            "version": self._version,
            "rules": [[rule.number, rule.fault.given(), self._strikes(rule)] for rule in self._faults],
        }

    def told(self, said: Any) -> None:
        """What another process says."""
        if "restart" in said:
            self._go_down(*said["restart"])
        elif "struck" in said:
            number, strikes = said["struck"]
            self._count({rule.number: rule for rule in self._faults}.get(number), strikes)
        else:
            self._take(said["version"], said["rules"])

    def _take(self, version: int, rules: list[Any]) -> None:
        known = {rule.number: rule for rule in self._faults}
        if version > self._version:
            self._version = version
            found = []
            for number, values, _ in rules:
                fault = Fault(**values)
                rule = known.get(number)
                found.append(rule if rule is not None and rule.fault == fault else Rule(fault, number))
            self._is_told = True
            try:
                self._faults.replace(found)
            finally:
                self._is_told = False
            known = {rule.number: rule for rule in found}
        if version == self._version:
            for number, _, strikes in rules:
                self._count(known.get(number), strikes)

    def _count(self, rule: Rule | None, strikes: dict[str, int]) -> None:
        if rule is not None:
            for process, count in strikes.items():
                if process != self._own:
                    rule.elsewhere[process] = max(count, rule.elsewhere.get(process, 0))

    def _strikes(self, rule: Rule) -> dict[str, int]:
        return {**rule.elsewhere, self._own: rule.fired}

    def _changed(self) -> None:
        if not self._is_told:
            self._version += 1
            self._say(self.all())

    def _struck(self, rule: Rule) -> None:
        self._say({"struck": [rule.number, {self._own: rule.fired}]})

    def _restart(self, keep_state: bool, seconds: float) -> None:
        self._say({"restart": [keep_state, seconds]})
        self._go_down(keep_state, seconds)

    def _go_down(self, keep_state: bool, seconds: float) -> None:
        if self._take_down is not None:
            self._take_down(keep_state, seconds)
