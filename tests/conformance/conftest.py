from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import Broker

# A busy machine is no failure: examples have no deadline.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


of_workers: Counter[str] = Counter()
"""What the state machine did in the workers of pytest-xdist."""


@pytest.fixture
def broker() -> Broker:
    """The engine as it comes, without a socket."""
    return Broker()


def _figures() -> Counter[str]:
    """What the state machine did in this process."""
    module = sys.modules.get("tests.conformance.test_delivery")
    return module.figures if module is not None else Counter()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist
        session.config.workeroutput["delivery"] = dict(_figures())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    of_workers.update(getattr(node, "workeroutput", {}).get("delivery", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that docs/conformance.md quotes."""
    figures = _figures() + of_workers
    if figures:
        did = ", ".join(f"{count:,} {what}" for what, count in figures.items())
        terminalreporter.write_line(f"delivery under cut connections: {did}")
