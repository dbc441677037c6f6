"""Record what a message costs now: `.venv/bin/python -m tests.benchmarks.record`."""

from __future__ import annotations

import json
from pathlib import Path

from .hot_path import SCENARIOS, cost

RECORD = Path(__file__).with_name("hot_path.json")
VERSIONS = (4, 5)


def recorded() -> dict[str, float]:
    costs: dict[str, float] = json.loads(RECORD.read_text(encoding="utf-8"))
    return costs


def key(name: str, version: int) -> str:
    return f"{name}, MQTT {'5.0' if version == 5 else '3.1.1'}"


def main() -> None:
    before = recorded() if RECORD.exists() else {}
    costs = {key(name, version): round(cost(name, version), 3) for name in SCENARIOS for version in VERSIONS}
    RECORD.write_text(json.dumps(costs, indent=2) + "\n", encoding="utf-8")
    for name, now in costs.items():
        change = f"  {now / before[name] - 1:+.1%}" if name in before else ""
        print(f"{name}: {now}{change}")


if __name__ == "__main__":
    main()
