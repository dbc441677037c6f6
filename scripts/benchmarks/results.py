"""The results, in one JSON file: written after each measurement, so that an interrupted run loses nothing."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .brokers import ROOT, Kind
from .measure import Values

DEFAULT_PATH = ROOT / "build" / "bench" / "results.json"


class Results:
    """Sections (table, growth, ...) of records; a record belongs to a row, a broker and a version of MQTT."""

    def __init__(self, path: Path = DEFAULT_PATH) -> None:
        self.path = path
        self.sections: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.sections = json.loads(path.read_text(encoding="utf-8"))

    def begin(self, section: str, kinds: Iterable[Kind], notes: Sequence[str] = ()) -> None:
        """Note the command, the machine and the time of the records that follow."""
        facts = {**circumstances(), "programs": [kind.program() for kind in kinds], "notes": list(notes)}
        self.sections.setdefault(section, {"records": []})["facts"] = facts

    def note(self, section: str, text: str) -> None:
        """Print ``text`` on the terminal, and show it on the page."""
        print(f"note: {text}", flush=True)
        notes = self.facts(section)["notes"]
        if text not in notes:
            notes.append(text)
            self._save()

    def forget(self, section: str, row: str, version: int | None = None) -> None:
        """Remove the records of a row that is measured again."""
        records = self.sections[section]["records"]
        self.sections[section]["records"] = [
            one for one in records if one["row"] != row or version not in (None, one["version"])
        ]

    def add(self, section: str, row: str, broker: str, values: Values, *, version: int = 4) -> None:
        record = {"row": row, "broker": broker, "version": version, "values": values}
        self.sections[section]["records"].append(record)
        self._save()

    def facts(self, section: str) -> dict[str, Any]:
        facts: dict[str, Any] = self.sections[section]["facts"]
        return facts

    def find(
        self, section: str, row: str, broker: str | None = None, version: int | None = None
    ) -> Iterator[Values]:
        """The records that match, in the order they were made."""
        for record in self.sections.get(section, {}).get("records", []):
            if record["row"] != row or version not in (None, record["version"]):
                continue
            if broker in (None, record["broker"]):
                yield record["values"]

    def brokers(self, section: str) -> set[str]:
        return {record["broker"] for record in self.sections.get(section, {}).get("records", [])}

    def median(self, section: str, row: str, broker: str, key: str, version: int = 4) -> float | None:
        """The median over the rounds; None if nothing was measured."""
        found = [values.get(key) for values in self.find(section, row, broker, version)]
        numbers = [number for number in found if number is not None]
        return statistics.median(numbers) if numbers else None

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(self.sections, indent=1) + "\n", encoding="utf-8")
        beside.replace(self.path)


def circumstances() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": _command(sys.argv[1:]),
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _command(arguments: Sequence[str]) -> str:
    """The command as typed, without the path of the results."""
    return re.sub(r" --out[ =]\S+", "", shlex.join(["scripts/bench", *arguments]))


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The measured commit, with ``-dirty`` if files have changed since. Pages and pictures in docs/ do not
    count, because they are not measured."""
    described = _git("describe", "--always")
    return described + ("-dirty" if _git("status", "--porcelain", "--", ":/", ":(top,exclude)docs") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
