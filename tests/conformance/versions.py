"""Over which versions of MQTT a test runs."""

from __future__ import annotations

import pytest

every_version = pytest.mark.parametrize("version", [3, 4, 5])
oasis = pytest.mark.parametrize("version", [4, 5])
"""3.1.1 and 5.0: the two with numbered statements."""
