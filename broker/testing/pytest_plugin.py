"""The pytest plugin: fixtures that are brokers. Loaded wherever pybroker is installed, so it imports nothing
before a fixture is used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Unpack

import pytest

if TYPE_CHECKING:
    from .broker import MakeTestBroker, TestBroker
    from .setup import Conf, SetupOptions

_running = pytest.StashKey[list["TestBroker"]]()
"""The brokers that a test, or the whole run, has made."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pybroker", "MQTT test broker")
    group.addoption(
        "--pybroker-port",
        type=int,
        default=0,
        metavar="PORT",
        help="port of the tcp listener of mqtt_broker, or of mqtt_broker_session; 0, the default, picks a "
        "free one; under pytest-xdist each worker adds its number",
    )
    group.addoption(
        "--pybroker-conf",
        metavar="FILE",
        help="the nanomq.conf of every broker that names no conf itself",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "mqtt_broker(conf=, options=, tls=, ws=, users=, plugins=, webhooks=, virtual_clock=, ...): "
        "the configuration of the broker of the mqtt_broker fixture; see pybroker.broker.testing.setup.Setup",
    )


@pytest.fixture
def make_mqtt_broker(request: pytest.FixtureRequest) -> Iterator[MakeTestBroker]:
    """Makes running brokers, each on free ports; they stop when the test ends. Takes what
    `pybroker.broker.testing.setup.Setup` lists:
    ``make_mqtt_broker(conf="my.conf", tls=True, users={"ann": "x"})``."""
    with _maker(request) as make:
        yield make


@pytest.fixture
def mqtt_broker(request: pytest.FixtureRequest, make_mqtt_broker: MakeTestBroker) -> TestBroker:
    """A new broker for the test, configured by its ``mqtt_broker`` marker."""
    setup: SetupOptions = {"port": _port(request.config)}
    _take_markers(request.node, setup)
    return make_mqtt_broker(**setup)


@pytest.fixture(scope="session")
def mqtt_broker_setup() -> SetupOptions:
    """The configuration of the brokers of the module and of the session: override it in a conftest.py. The
    keys are those of the ``mqtt_broker`` marker."""
    return {}


@pytest.fixture(scope="module")
def mqtt_broker_module(
    request: pytest.FixtureRequest, mqtt_broker_setup: SetupOptions
) -> Iterator[TestBroker]:
    """One broker for the tests of a module, reset for each test that uses it. The marker ``mqtt_broker`` in
    the module's ``pytestmark`` configures it."""
    setup: SetupOptions = {**mqtt_broker_setup}
    _take_markers(request.node, setup)
    with _maker(request) as make:
        yield make(**setup)


@pytest.fixture(scope="session")
def mqtt_broker_session(
    request: pytest.FixtureRequest, mqtt_broker_setup: SetupOptions
) -> Iterator[TestBroker]:
    """One broker for all tests, reset for each test that uses it."""
    setup: SetupOptions = {"port": _port(request.config), **mqtt_broker_setup}
    with _maker(request) as make:
        yield make(**setup)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    try:
        yield
    finally:
        for broker in _shared(item):
            broker.reset()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and report.when != "teardown":
        for broker in [*_shared(item), *item.stash.get(_running, ())]:
            report.sections.append((f"MQTT broker {broker.url}", broker.report()))
    return report


def _shared(item: pytest.Item) -> list[TestBroker]:
    """The brokers of the module and of the whole run that this test uses, be it by ``getfixturevalue``."""
    used = getattr(getattr(item, "_request", None) or item, "fixturenames", ())
    nodes: list[pytest.Item | pytest.Collector] = []
    module = item.getparent(pytest.Module)
    if "mqtt_broker_module" in used and module is not None:
        nodes.append(module)
    if "mqtt_broker_session" in used:
        nodes.append(item.session)
    return [broker for node in nodes for broker in node.stash.get(_running, ())]


def _take_markers(node: pytest.Item | pytest.Collector, setup: SetupOptions) -> None:
    """The nearest marker wins."""
    for marker in reversed(list(node.iter_markers("mqtt_broker"))):
        if marker.args:
            raise ValueError("the marker mqtt_broker takes names only, such as mqtt_broker(conf=...)")
        setup.update(marker.kwargs)  # type: ignore[typeddict-item]


@contextmanager
def _maker(request: pytest.FixtureRequest) -> Iterator[MakeTestBroker]:
    """Makes brokers for the test or the run, and stops them at the end, the last one first."""
    running = request.node.stash.setdefault(_running, [])
    with ExitStack() as stops:

        def make(conf: Conf = None, **setup: Unpack[SetupOptions]) -> TestBroker:
            from .broker import TestBroker

            if conf is None and not setup.get("conf_text"):
                conf = request.config.getoption("--pybroker-conf")
            broker = TestBroker(conf, **setup).start()
            running.append(broker)
            stops.callback(broker.stop)
            stops.callback(running.remove, broker)
            return broker

        yield make


def _port(config: pytest.Config) -> int:
    """``--pybroker-port``, moved by the number of the xdist worker so that none is used twice."""
    port: int = config.getoption("--pybroker-port")
    worker: str = getattr(config, "workerinput", {}).get("workerid", "gw0")
    return port + int(worker.removeprefix("gw")) if port else 0
