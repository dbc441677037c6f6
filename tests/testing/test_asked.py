"""What a test asks for is checked at once: it would only time out otherwise."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pybroker.testing import TestBroker, WaitTimeout

from .support import dial, paho_client


@pytest.mark.parametrize(
    ("topic", "options", "error"),
    [
        ("a/#", {}, "wildcards"),
        ("", {}, "at least one character"),
        ("a", {"qos": 3}, "qos is 0, 1 or 2, not 3"),
        ("a", {"qos": True}, "qos is 0, 1 or 2"),
        ("a", {"content_typ": "x"}, 'did you mean "content_type"'),
    ],
)
def test_what_cannot_be_published(
    mqtt_broker: TestBroker, topic: str, options: dict[str, Any], error: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=error):
        mqtt_broker.publish(topic, "x", **options)
    assert mqtt_broker.messages() == []


def test_properties_by_their_names(mqtt_broker: TestBroker) -> None:
    mqtt_broker.publish(
        "a", "x", content_type="text/plain", user_properties={"unit": "K"}, correlation_data=b"1"
    )
    message = mqtt_broker.wait_for("a", own=True)
    assert message.properties.content_type == "text/plain"
    assert message.properties.correlation_data == b"1"
    assert message.user_properties == (("unit", "K"),)


def test_none_is_an_empty_payload_and_clears_what_is_retained(mqtt_broker: TestBroker) -> None:
    mqtt_broker.publish("a", "x", retain=True)
    mqtt_broker.publish("a", None, retain=True)
    assert mqtt_broker.retained == {}


def test_what_the_test_publishes_does_not_end_a_wait(mqtt_broker: TestBroker) -> None:
    mqtt_broker.publish("a", "mine")
    with pytest.raises(WaitTimeout, match="the test: a qos 0: mine"):
        mqtt_broker.wait_for("a", timeout=0)
    with paho_client(mqtt_broker, "lamp") as client, paho_client(mqtt_broker, "door") as other:
        other.publish("a", "theirs", qos=1).wait_for_publish()
        client.publish("a", "its", qos=1).wait_for_publish()
    assert mqtt_broker.wait_for("a").text == "theirs"
    assert mqtt_broker.wait_for("a", client="lamp").text == "its"
    assert [one.text for one in mqtt_broker.messages("a")] == ["mine", "theirs", "its"]
    assert [one.text for one in mqtt_broker.messages("a", client="lamp")] == ["its"]
    first = mqtt_broker.wait_for("a", own=True)
    assert first.text == "mine"
    assert mqtt_broker.wait_for("a", since=first).text == "theirs"
    assert mqtt_broker.messages("a", since=time.time() + 60) == []


def test_counts_and_times_have_names(mqtt_broker: TestBroker) -> None:
    with pytest.raises(TypeError):
        mqtt_broker.wait_for("zz", 0.2)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("wait", "error"),
    [
        (lambda broker: broker.wait_for_packet("SUBAK"), 'did you mean "SUBACK"'),
        (lambda broker: broker.packets("SUBAK"), 'did you mean "SUBACK"'),
        (lambda broker: broker.wait_for_packet("PUBACK", direction="up"), '"in".*"out"'),
        (lambda broker: broker.wait_for_webhook("message_publishd"), 'did you mean "message_publish"'),
        (lambda broker: broker.wait_for("a#"), "whole last level"),
    ],
)
def test_waits_for_what_can_never_come(mqtt_broker: TestBroker, wait: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        wait(mqtt_broker)


def test_events_with_and_without_on() -> None:
    for event in ("on_client_connected", "client_connected"):
        with TestBroker(webhooks=[event]) as broker, dial(broker, "lamp"):
            for action in ("client_connected", "on_client_connected"):
                assert broker.wait_for_webhook(action).action == "client_connected"


def test_a_configuration_as_text() -> None:
    with TestBroker(conf_text="limits.max_subscriptions = 7\n") as broker:
        assert broker.running.settings.limits.max_subscriptions == 7
    with pytest.raises(ValueError, match="one configuration"):
        TestBroker("a.conf", conf_text="x = 1")
    with pytest.raises(ValueError, match=r"did you mean \"mqtt.max_packet_size\""):
        TestBroker(options={"mqtt.max_paket_size": "1KB"})


def test_a_failed_wait_points_at_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(mqtt_broker):\n    mqtt_broker.wait_for('never', timeout=0)\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*mqtt_broker.wait_for('never', timeout=0)"])
    result.stdout.no_fnmatch_line("*waiting.py*raise search.failure*")
    result.stdout.no_fnmatch_line("*def wait_for(*")


def test_a_stop_does_not_wait_for_a_client_that_says_nothing() -> None:
    """The grace is for one that is about to disconnect; of this one the test knows that it is not."""
    waited: list[float] = []
    for silent in (False, True):
        with TestBroker(virtual_clock=True) as broker, dial(broker, "lamp"):
            if silent:
                broker.clock.advance(10)
            started = time.monotonic()
            with pytest.warns(UserWarning, match="left connected: lamp"):
                broker.stop()
            waited.append(time.monotonic() - started)
    assert waited[1] < waited[0]


def test_the_flags_of_a_command_are_its_own() -> None:
    from .support import parsed

    for dashes in ([], ["--"]):
        options = parsed(["run", "--tls", *dashes, "mosquitto_pub", "-h", "x", "--port", "7", "--", "y"])
        assert options.tls
        assert options.port == 0
        command = ["mosquitto_pub", "-h", "x", "--port", "7", "--", "y"]
        assert options.command == [*dashes, *command]
