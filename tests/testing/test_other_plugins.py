"""Beside plugins that a project is likely to have: neither options nor fixtures may clash with ours.

They would change how our own tests run, so `make test-plugins` has an environment for this file.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

PLUGINS = (
    "pytest_mqtt",
    "pytest_timeout",
    "pytest_cov",
    "pytest_randomly",
    "pytest_rerunfailures",
    "xdist",
    "pytest_asyncio",
    "anyio",
)
MISSING = [one for one in PLUGINS if find_spec(one) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"run `make test-plugins`: {', '.join(MISSING)} missing"
)

TEST = """
import pytest

def test_a_broker(mqtt_broker):
    mqtt_broker.publish("a", "x")
    assert mqtt_broker.wait_for("a", own=True).text == "x"

@pytest.mark.asyncio
async def test_in_a_loop(mqtt_broker_session):
    mqtt_broker_session.publish("a", "x")
    assert (await mqtt_broker_session.aio.wait_for("a", own=True)).text == "x"
"""


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--mqtt-port=1883", "--pybroker-port=0"),
        ("-n", "1", "--cov=.", "--timeout=60", "--reruns=1", "-p", "no:cacheprovider"),
    ],
)
def test_all_of_them_at_once(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess(*options)
    result.assert_outcomes(passed=2)
