from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import Broker

# A busy machine is no failure: examples have no deadline.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture
def broker() -> Broker:
    """The engine as it comes, without a socket."""
    return Broker()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the state machine did: the figures that docs/conformance.md quotes."""
    module = sys.modules.get("tests.conformance.test_delivery")
    figures = module.figures if module is not None else None
    if figures:
        did = ", ".join(f"{count:,} {what}" for what, count in figures.items())
        terminalreporter.write_line(f"delivery under cut connections: {did}")
