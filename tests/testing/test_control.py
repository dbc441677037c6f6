"""The control endpoint of `pybroker run`: the test broker for tests in any language."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pybroker.broker.testing.control import served
from pybroker.testing import TestBroker

from .support import dial, paho_client

Ask = Callable[..., Any]


@pytest.fixture
def broker() -> Iterator[TestBroker]:
    with TestBroker(webhooks=["on_client_connected"], virtual_clock=True) as broker:
        yield broker


@pytest.fixture
def ask(broker: TestBroker) -> Iterator[Ask]:
    """Asks the endpoint; the status and the answer where it is an error."""
    with served(broker) as address:

        def ask(call: str, method: str = "POST", body: bytes | None = None, **values: Any) -> Any:
            data = json.dumps(values).encode() if body is None else body
            request = urllib.request.Request(f"{address}/{call}", data, method=method)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)["error"]

        ask.address = address  # type: ignore[attr-defined]
        yield ask


def test_what_is_seen(broker: TestBroker, ask: Ask) -> None:
    with dial(broker, "lamp"):
        ask("wait_for_client", client="lamp")
        ask("publish", topic="a/b", payload={"x": 1}, retain=True, content_type="application/json")
        ask("publish", topic="raw", payload_base64="/wA=")
        first, second = ask("messages", "GET")
        assert (first["topic"], first["payload"], first["own"]) == ("a/b", '{"x": 1}', True)
        assert first["properties"] == {"content_type": "application/json"}
        assert (second["payload"], second["payload_base64"]) == (None, "/wA=")
        assert [one["id"] for one in ask("clients", "GET")] == ["lamp"]
        assert [one["topic"] for one in ask("retained", "GET")] == ["a/b"]
        assert [one["type"] for one in ask("wait_for_packet", type="CONNACK")] == ["CONNACK"]
        assert ask("wait_for_webhook", action="client_connected")[0]["body"]["clientid"] == "lamp"
        assert "CONNECT" in ask("report", "GET")


def test_waits(broker: TestBroker, ask: Ask) -> None:
    with paho_client(broker, "lamp") as client:
        client.publish("room/light", "on", qos=1)
        assert [one["client"] for one in ask("wait_for", topic="room/#")] == ["lamp"]
    status, error = ask("wait_for", topic="never", timeout=0)
    assert status == 408
    assert "0 of 1 came" in error


def test_changes(broker: TestBroker, ask: Ask) -> None:
    fault = ask("faults", action="drop", packet="PUBACK", times=1)
    assert [one["number"] for one in ask("faults", "GET")] == [fault["number"]]
    assert ask("faults", "DELETE", number=fault["number"]) is None
    assert ask("faults", "DELETE", number=fault["number"])[0] == 404
    before = broker.clock.time()
    ask("advance", seconds=90)
    assert broker.clock.time() == before + 90
    ask("publish", topic="a", payload="x", retain=True)
    ask("reset")
    assert ask("messages", "GET") == ask("retained", "GET") == []


@pytest.mark.parametrize(
    ("call", "values", "status", "error"),
    [
        ("publish", {"topic": "a/#"}, 400, "wildcards"),
        ("wait_for_packet", {"type": "SUBAK"}, 400, "SUBACK"),
        ("wait_for", {}, 400, "topic"),
        ("wait_fr", {}, 404, "POST wait_for"),
        ("disconnect", {"client": "nobody"}, 404, "not connected"),
        ("faults", {"action": "drop", "packet": "SUBAK"}, 400, "SUBACK"),
        ("publish", {"body": b"not json"}, 400, "not JSON"),
        ("publish", {"body": b"[]"}, 400, "not a JSON object"),
        ("publish", {"body": b"[" * 100_000}, 400, "not JSON"),
    ],
)
def test_what_cannot_be_asked(ask: Ask, call: str, values: dict[str, Any], status: int, error: str) -> None:
    found, told = ask(call, **values)
    assert found == status
    assert error in told


def test_the_path_is_a_secret(ask: Ask) -> None:
    root = ask.address.rsplit("/", 1)[0]  # type: ignore[attr-defined]
    for path in ("/report", "/", "/x/report"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(root + path, timeout=60)
