"""The pytest plugin, in pytest runs of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path

import pytest

PLUGIN = "pybroker.broker.testing.pytest_plugin"
INSTALLED = any(one.value == PLUGIN for one in entry_points(group="pytest11"))
ROOT = Path(__file__).resolve().parents[2]

CLIENT = """
import socket, pytest, threading

def connect(broker, name="dev"):
    connection = socket.create_connection((broker.host, broker.port), timeout=10)
    data = bytes.fromhex("00044d5154540402003c") + len(name).to_bytes(2, "big") + name.encode()
    connection.sendall(bytes((0x10, len(data))) + data)
    assert connection.recv(4) == bytes.fromhex("20020000")
    return connection
"""


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody uses."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                for number in range(1, count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port + number))
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture
def run(pytester: pytest.Pytester):
    """Runs a test file in a pytest of its own."""

    def run(test: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(CLIENT + test)
        plugin = () if INSTALLED else ("-p", PLUGIN)
        return pytester.runpytest_subprocess(*plugin, "-p", "no:cacheprovider", *arguments)

    return run


def test_a_broker_for_each_test(run) -> None:
    result = run(
        """
ports = []

def test_one(mqtt_broker):
    with connect(mqtt_broker):
        mqtt_broker.publish("a", "x", retain=True)
    ports.append(mqtt_broker.port)

def test_two(mqtt_broker):
    assert mqtt_broker.messages() == []
    assert mqtt_broker.retained == {}

def test_three():
    assert [one.name for one in threading.enumerate()] == ["MainThread"]
"""
    )
    result.assert_outcomes(passed=3)


def test_one_broker_for_all_tests(run) -> None:
    result = run(
        """
seen = []

@pytest.mark.parametrize("number", range(3))
def test_each(mqtt_broker_session, number):
    seen.append(mqtt_broker_session.port)
    assert len(set(seen)) == 1
    assert mqtt_broker_session.messages() == []
    with connect(mqtt_broker_session):
        mqtt_broker_session.publish("a", "x")
"""
    )
    result.assert_outcomes(passed=3)


def test_the_broker_of_the_run_is_reset_whatever_happened(run) -> None:
    result = run(
        """
@pytest.fixture
def broken(mqtt_broker_session):
    yield
    raise ValueError("boom")

def test_one(mqtt_broker_session, broken):
    mqtt_broker_session.publish("a", "x")

def test_two(mqtt_broker_session):
    assert mqtt_broker_session.messages() == []

def test_three(request):
    broker = request.getfixturevalue("mqtt_broker_session")
    broker.publish("a", "x")

def test_four(mqtt_broker_session):
    assert mqtt_broker_session.messages() == []
"""
    )
    result.assert_outcomes(passed=4, errors=1)


def test_several_brokers_in_one_test(run) -> None:
    result = run(
        """
def test_it(make_mqtt_broker, mqtt_broker):
    one, two = make_mqtt_broker(), make_mqtt_broker(users={"ann": "secret"})
    assert len({one.port, two.port, mqtt_broker.port}) == 3
    one.publish("a", "x")
    assert two.messages() == []
    with pytest.raises(AssertionError):
        connect(two)
"""
    )
    result.assert_outcomes(passed=1)


def test_the_marker(run) -> None:
    result = run(
        """
@pytest.mark.mqtt_broker(virtual_clock=True, webhooks=["on_client_connected"])
class TestAll:
    def test_virtual(self, mqtt_broker):
        with connect(mqtt_broker):
            mqtt_broker.clock.advance(1000)
            assert mqtt_broker.wait_for_webhook("client_connected")

    @pytest.mark.mqtt_broker(virtual_clock=False)
    def test_nearer_marker_wins(self, mqtt_broker):
        with pytest.raises(RuntimeError):
            mqtt_broker.clock.advance(1)

@pytest.mark.mqtt_broker(colour="red")
def test_unknown(mqtt_broker):
    pass

@pytest.mark.mqtt_broker("my.conf")
def test_without_names(mqtt_broker):
    pass
""",
        "--strict-markers",
    )
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*unexpected keyword argument 'colour'*",
            "*the marker mqtt_broker takes names only, such as mqtt_broker(conf=...)",
        ]
    )


def test_a_failed_test_shows_the_last_packets_and_webhooks(run) -> None:
    result = run(
        """
@pytest.mark.mqtt_broker(webhooks=["on_message_publish"])
def test_it(mqtt_broker):
    with connect(mqtt_broker):
        mqtt_broker.publish("a/b", "hello")
        mqtt_broker.drain()
        assert False
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- MQTT broker mqtt://127.0.0.1:* -*",
            "? packets:",
            "  *:*:*.* dev -> CONNECT MQTT 3.1.1 keepalive 60 s, clean start",
            "  *:*:*.* dev <- CONNACK success",
            "1 webhook:",
            '  webhook msg_*: {*"topic":"a/b"*"payload":"hello"}  [[]200]',
        ]
    )


def test_a_passed_test_shows_nothing(run) -> None:
    result = run("def test_it(mqtt_broker):\n    mqtt_broker.publish('a')\n", "-rA")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*MQTT broker*")


def test_a_failed_test_shows_the_brokers_that_it_used(run) -> None:
    result = run(
        """
def test_one(mqtt_broker_session):
    mqtt_broker_session.publish("a", "x")

def test_without():
    assert False, "no broker here"

def test_with(request):
    assert request.getfixturevalue("mqtt_broker_session") is None
"""
    )
    result.assert_outcomes(passed=1, failed=2)
    assert result.stdout.str().count("- MQTT broker mqtt://") == 1


def test_a_connection_left_behind_is_a_warning_that_names_it(run) -> None:
    result = run(
        """
kept = []

def test_it(mqtt_broker):
    kept.append(connect(mqtt_broker, "forgetful"))

def test_session(mqtt_broker_session):
    kept.append(connect(mqtt_broker_session, "sleepy"))
"""
    )
    result.assert_outcomes(passed=2, warnings=2)
    result.stdout.fnmatch_lines(
        ["*ConnectionLeftBehind: left connected: forgetful (127.0.0.1:*)", "*left connected: sleepy *"]
    )


def test_a_connection_left_behind_that_is_an_error_keeps_no_broker_running(run) -> None:
    result = run(
        """
kept = []

@pytest.mark.filterwarnings("error::pybroker.testing.ConnectionLeftBehind")
def test_it(make_mqtt_broker):
    first, second = make_mqtt_broker(), make_mqtt_broker()
    kept.append(connect(second, "forgetful"))

def test_clean():
    assert [one.name for one in threading.enumerate()] == ["MainThread"]
"""
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ConnectionLeftBehind: left connected: forgetful *"])


def test_the_options(run, pytester: pytest.Pytester) -> None:
    port = free_ports(1)
    conf = pytester.makefile(".conf", my='mqtt.max_packet_size = "1KB"')
    result = run(
        f"""
def test_port(mqtt_broker):
    assert mqtt_broker.port == {port}

def test_conf(mqtt_broker):
    with connect(mqtt_broker) as connection:
        connection.sendall(bytes.fromhex("30ff7f") + b"x" * 100)
        assert connection.recv(1) == b""

def test_named_conf_wins(make_mqtt_broker):
    from pybroker.broker.config.settings import Settings
    make_mqtt_broker(conf=Settings())
""",
        f"--pybroker-port={port}",
        f"--pybroker-conf={conf}",
    )
    result.assert_outcomes(passed=3)


def test_a_bad_configuration_is_an_error_with_its_line(run, pytester: pytest.Pytester) -> None:
    pytester.makefile(".conf", bad="mqtt {\n  max_packet_size = much\n}")
    result = run(
        "@pytest.mark.mqtt_broker(conf='bad.conf')\ndef test_it(mqtt_broker): pass\n",
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*bad.conf:2: mqtt.max_packet_size*"])


def test_under_xdist(run) -> None:
    result = run(
        """
@pytest.mark.parametrize("number", range(20))
def test_own(mqtt_broker, number):
    with connect(mqtt_broker):
        assert list(mqtt_broker.clients) == ["dev"]

@pytest.mark.parametrize("number", range(20))
def test_shared(mqtt_broker_session, number):
    with connect(mqtt_broker_session):
        assert list(mqtt_broker_session.clients) == ["dev"]
""",
        "-n2",
    )
    result.assert_outcomes(passed=40)


def test_a_fixed_port_under_xdist_is_one_for_each_worker(run) -> None:
    port = free_ports(2)
    result = run(
        f"""
@pytest.mark.parametrize("number", range(8))
def test_port(mqtt_broker, number, worker_id):
    assert mqtt_broker.port == {port} + int(worker_id[2:])
""",
        "-n2",
        f"--pybroker-port={port}",
    )
    result.assert_outcomes(passed=8)


def test_unittest(run) -> None:
    result = run(
        """
import unittest
from pybroker.testing import TestBroker

class ItsTests(unittest.TestCase):
    def setUp(self):
        self.broker = self.enterContext(TestBroker())

    def test_it(self):
        self.broker.publish("a", "x")
        self.assertEqual(self.broker.wait_for("a", own=True).text, "x")

class Async(unittest.IsolatedAsyncioTestCase):
    async def test_it(self):
        async with TestBroker() as broker:
            broker.publish("a", "x")
            self.assertEqual((await broker.wait_for("a", own=True)).text, "x")
"""
    )
    result.assert_outcomes(passed=2)


def test_nothing_is_imported_before_a_fixture_is_used() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules); import pybroker.broker.testing.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    new = set(done.stdout.split())
    assert not new & {"asyncio", "uvloop", "amqtt", "aiohttp", "pyhocon", "ssl", "logging"}
    ours = {name for name in new if name.split(".")[0] == "pybroker"}
    assert ours == {
        "pybroker",
        "pybroker.broker",
        "pybroker.broker.testing",
        "pybroker.broker.testing.pytest_plugin",
    }


def test_a_broker_for_a_module_or_for_all_is_made_as_asked(run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
import pytest

@pytest.fixture(scope="session")
def mqtt_broker_setup():
    return {"options": {"limits.max_subscriptions": 7}}
"""
    )
    result = run(
        """
pytestmark = pytest.mark.mqtt_broker(users={"ann": "x"})
ports = []

@pytest.mark.parametrize("number", [1, 2])
def test_of_the_module(mqtt_broker_module, number):
    ports.append(mqtt_broker_module.port)
    assert len(set(ports)) == 1
    assert mqtt_broker_module.messages() == []
    mqtt_broker_module.publish("a", "x")
    settings = mqtt_broker_module.running.settings
    assert (settings.limits.max_subscriptions, list(settings.auth.passwords)) == (7, ["ann"])

def test_of_all(mqtt_broker_session):
    settings = mqtt_broker_session.running.settings
    assert (settings.limits.max_subscriptions, list(settings.auth.passwords)) == (7, [])

def test_report(mqtt_broker_module):
    assert False
"""
    )
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*MQTT broker mqtt://127.0.0.1:*"])
