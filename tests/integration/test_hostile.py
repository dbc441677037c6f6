"""The light half of `scripts/hostile`: who attacks a running broker gains nothing, and harms nobody."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.waiting import DEADLINE

from .support import ROOT

ATTACKS = [
    "route-cache",
    "many-filters",
    "retained",
    "retained-answer",
    "never-acknowledges",
    "wrong-passwords",
    "user-properties",
    "overlapping-filters",
    "websocket-pings",
    "many-receivers",
    "many-away",
    "shared-groups",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_takes_no_more_memory_or_time_than_it_may(attack: str) -> None:
    command = [sys.executable, ROOT / "scripts" / "hostile", "--light", "--brokers=pybroker", attack]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert attack in done.stdout


def test_an_unknown_attack_is_named() -> None:
    command = [sys.executable, ROOT / "scripts" / "hostile", "tickle"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 2
    assert "no attack is called tickle" in done.stderr
