from __future__ import annotations

from importlib.metadata import entry_points

import pytest

PLUGIN = "broker.testing.pytest_plugin"

pytest_plugins = ["pytester"]
if not any(one.value == PLUGIN for one in entry_points(group="pytest11")):
    pytest_plugins.append(PLUGIN)  # a checkout that is not installed


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "mqtt(*ids): shows the statements, such as 5.0:MQTT-3.1.0-1; listed in docs/conformance.md"
    )
