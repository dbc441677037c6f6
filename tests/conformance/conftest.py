from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import Broker

# A busy machine is no failure: examples have no deadline.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "mqtt(*ids): shows the statements, such as 5.0:MQTT-3.1.0-1; listed in docs/conformance.md"
    )


@pytest.fixture
def broker() -> Broker:
    """The engine as it comes, without a socket."""
    return Broker()
