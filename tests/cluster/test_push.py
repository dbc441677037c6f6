"""Notifications on devices, with a broker of several processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from ..integration.clients import connected
from ..integration.support import Endpoint, RunningBroker, wait_for
from .test_http import HTTP, Api
from .test_workers import keeping, name_for, pybroker, workers_of

Start = Callable[..., RunningBroker]
V5 = MQTTProtocolVersion.MQTTv5


def device_of(path: str) -> str:
    return path.rsplit("/", 1)[1]


def test_a_device_is_pushed_to_whichever_worker_has_its_client(
    start_broker: Start, endpoint: Endpoint, tmp_path: Path
) -> None:
    conf = f"""event_pusher.push {{ url = "{endpoint.url}", throttle = 0 }}
    push_registrations.path = "{tmp_path}/push"
    sqlite.mounted_file_path = "{tmp_path}/state"
    {HTTP}"""
    broker = start_broker(conf, "--workers", "3")
    api = Api(broker)
    phones = [name_for(n, prefix="phone") for n in range(3)]
    for phone in phones[:2]:
        with connected(broker.port, phone, V5, connect=keeping()) as client:
            client.subscribe_and_wait(f"for/{phone}", 1)
            device = {"service": "fcm", "device_id": f"of-{phone}"}
            client.publish_and_wait("$push/enable", json.dumps(device), 1)
    with connected(broker.port, phones[2], V5, connect=keeping()) as client:
        client.subscribe_and_wait([("for/+", 1)])
    wanted = {"clientid": phones[2], "service": "fcm", "device_id": "by-http"}
    assert api.data("/push", "POST", wanted)["device_id"] == "by-http"
    assert {one["clientid"] for one in api.data("/push")} == set(phones)
    assert [one["device_id"] for one in api.data(f"/push/{phones[1]}")] == [f"of-{phones[1]}"]

    with ExitStack() as stack:
        publishers = [stack.enter_context(connected(broker.port, name_for(n))) for n in range(3)]
        for n, publisher in enumerate(publishers):
            for phone in phones[:2]:
                publisher.publish_and_wait(f"for/{phone}", f"{n}", 1)
        wait_for(lambda: len(endpoint.requests) >= 12, "all notifications")
    got = sorted(device_of(request.path) for request in endpoint.requests)
    assert got == sorted([f"of-{phones[0]}", f"of-{phones[1]}", "by-http", "by-http"] * 3)

    before = set(workers_of(broker))
    os.kill(sorted(before)[1], signal.SIGKILL)
    wait_for(lambda: len(set(workers_of(broker)) - before) == 1, "another worker")
    wait_for(lambda: api(f"/push/{phones[1]}")[0] == 200, "its answer")
    assert [one["device_id"] for one in api.data(f"/push/{phones[1]}")] == [f"of-{phones[1]}"]
    assert api.data(f"/push/{phones[2]}/by-http", "DELETE") == {"removed": 1}
    assert len(api.data("/push")) == 2
    assert pybroker(broker, "stop").returncode == 0


@pytest.mark.parametrize(("before", "now"), [(2, 3), (2, 1), (1, 2)])
def test_registrations_of_another_number_of_workers_are_refused(
    start_broker: Start, endpoint: Endpoint, tmp_path: Path, before: int, now: int
) -> None:
    conf = f'event_pusher.push.url = "{endpoint.url}"\npush_registrations.path = "{tmp_path}/push"\n'
    assert start_broker(conf, "--workers", str(before)).stop() == 0
    with pytest.raises(AssertionError, match=f"push_registrations.path: .* not of {now} workers"):
        start_broker(conf, "--workers", str(now))
