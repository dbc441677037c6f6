from __future__ import annotations

import pytest

from tests.harness import Broker


@pytest.fixture
def broker() -> Broker:
    """The engine as it comes, without a socket."""
    return Broker()
