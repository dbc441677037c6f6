from __future__ import annotations

from importlib.metadata import entry_points

PLUGIN = "broker.testing.pytest_plugin"

pytest_plugins = ["pytester"]
if not any(one.value == PLUGIN for one in entry_points(group="pytest11")):
    pytest_plugins.append(PLUGIN)  # a checkout that is not installed
