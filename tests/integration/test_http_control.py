"""`POST /api/v4/ctrl/stop` and `restart`, against a real process."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

from tests.waiting import DEADLINE

from .clients import connected
from .support import RunningBroker, wait_for

Start = Callable[..., RunningBroker]
HTTP = "http_server.port = 0\n"


def post(broker: RunningBroker, path: str) -> tuple[int, Any]:
    request = urllib.request.Request(f"{broker.facts['page']}api/v4{path}", method="POST")
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def started_again(broker: RunningBroker) -> dict[str, Any]:
    """Its facts, once the ready file is of a later start; it keeps its process number."""

    def facts() -> dict[str, Any] | None:
        found: dict[str, Any] = json.loads(broker.ready_file.read_text() or "null")
        return found if found and found != broker.facts else None

    return wait_for(facts, "a new ready file")


def test_stop(start_broker: Start) -> None:
    broker = start_broker(HTTP)
    with connected(broker.port, "client") as client:
        assert post(broker, "/ctrl/stop") == (200, {"code": 0})
        assert client.left.wait(DEADLINE)
    assert broker.process.wait(DEADLINE) == 0
    assert "stopped" in broker.output


def test_restart_goes_by_the_file_as_it_is_now(start_broker: Start) -> None:
    broker = start_broker(HTTP)
    text = broker.conf.read_text()
    broker.conf.write_text(text + "\nmqtt.max_qos = 1\n")
    assert post(broker, "/ctrl/restart") == (200, {"code": 0})
    facts = started_again(broker)
    assert facts["pid"] == broker.process.pid
    with connected(facts["listeners"][0]["port"], "client") as client:
        assert client.reason.value == 0
    broker.facts = facts
    assert post(broker, "/ctrl/stop") == (200, {"code": 0})
    assert broker.process.wait(DEADLINE) == 0


def test_a_file_that_is_wrong_keeps_the_broker_running(start_broker: Start) -> None:
    broker = start_broker(HTTP)
    broker.conf.write_text("mqtt.max_qos = 9\n")
    status, answer = post(broker, "/ctrl/restart")
    assert (status, answer["code"]) == (400, 117)
    assert 'mqtt.max_qos: found "9"' in answer["message"]
    with connected(broker.port, "client") as client:
        assert client.reason.value == 0
