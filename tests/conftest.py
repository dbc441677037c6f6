from __future__ import annotations

import signal
import sys
from collections import Counter
from importlib.metadata import entry_points
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: examples have no deadline.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

PLUGIN = "pybroker.broker.testing.pytest_plugin"

of_workers: Counter[str] = Counter()
"""What the state machine of tests/conformance did in the workers of pytest-xdist."""

pytest_plugins = ["pytester"]
if not any(one.value == PLUGIN for one in entry_points(group="pytest11")):
    pytest_plugins.append(PLUGIN)  # a checkout that is not installed


for _number, _handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    # Under nohup they are ignored, and the programs that tests start inherit that.
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "mqtt(*ids): shows the statements, such as 5.0:MQTT-3.1.0-1; listed in docs/conformance.md"
    )


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
