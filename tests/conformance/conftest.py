from __future__ import annotations

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
