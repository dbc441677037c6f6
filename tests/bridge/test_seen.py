"""Bridges as others see and change them: HTTP, metrics, the command line, the test broker."""

from __future__ import annotations

import warnings
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pybroker.broker.app import App
from pybroker.broker.commands.bridge import _lines
from pybroker.broker.config import ConfigError
from pybroker.testing import TestBroker, WaitTimeout
from tests.rest.conftest import Serve, http, serve, url  # noqa: F401 - fixtures
from tests.rest.test_api import ask
from tests.waiting import until

from .support import bridge, bridged, comes, forward, forwards, status, subscription, wait_until
from .support import url as server

BOTH = forwards(forward("out/#")), subscription(comes("in/#"))


async def test_over_http(serve: Serve, http: aiohttp.ClientSession) -> None:  # noqa: F811
    with TestBroker() as remote:
        keys = "username = ann, password = s3cret, proto_ver = 5"
        app = await serve("", bridge(server(remote), keys, *BOTH))

        async def node(name: str = "up") -> dict[str, Any]:
            _, answer = await ask(http, app, "GET", f"/bridges/{name}")
            (found,) = answer["data"]["bridge"]["nodes"]
            assert "s3cret" not in str(answer)
            return dict(found)

        await until(lambda: app.bridges.all["up"].status.state == "connected")
        assert (await node())["status"]["state"] == "connected"
        assert (await node())["connector"]["proto_ver"] == 5
        assert (await node())["forwards"] == [{"remote_topic": "", "local_topic": "out/#"}]
        assert (await ask(http, app, "GET", "/bridges/none"))[1]["data"] == {"bridge": {"nodes": []}}

        off = {"data": {"bridge_switch": False}}
        assert (await ask(http, app, "POST", "/bridges/switch/up", off))[0] == 200
        await until(lambda: app.bridges.all["up"].status.state == "disabled")
        assert (await ask(http, app, "POST", "/bridges/switch/up", off))[1]["code"] == 108
        on = {"data": {"bridge_switch": True}}
        assert (await ask(http, app, "POST", "/bridges/switch/up", on))[0] == 200
        await until(lambda: app.bridges.all["up"].status.state == "connected")

        more = {"data": {"subscription": [{"remote_topic": "more/#", "local_topic": "", "qos": 1}]}}
        assert (await ask(http, app, "POST", "/bridges/sub/up", more))[0] == 200
        assert [one["remote_topic"] for one in (await node())["subscription"]] == ["in/#", "more/#"]
        assert (await ask(http, app, "POST", "/bridges/switch/up", off))[0] == 200
        less = {"data": {"unsubscription": [{"topic": "in/#"}]}}
        assert (await ask(http, app, "POST", "/bridges/unsub/up", less))[0] == 200
        assert [one["remote_topic"] for one in (await node())["subscription"]] == ["more/#"]
        assert app.bridges.all["up"].status.state == "disabled"
        assert (await ask(http, app, "POST", "/bridges/switch/up", on))[0] == 200
        await until(lambda: app.bridges.all["up"].status.state == "connected")

        wanted = {
            "up": {"server": server(remote), "username": "ann", "password": "******", "keepalive": "9s"}
        }
        wanted["up"]["forwards"] = [{"local_topic": "o/#", "remote_topic": ""}]  # type: ignore[assignment]
        assert (await ask(http, app, "PUT", "/bridges/up", wanted))[0] == 200
        assert app.bridges.all["up"].settings.password == "s3cret"
        assert app.bridges.all["up"].settings.keepalive == 9

        new = {"server": server(remote), "clientid": "second", "transparent": True}
        assert (await ask(http, app, "POST", "/bridges/second", new))[0] == 200
        assert (await ask(http, app, "POST", "/bridges/second", new))[0] == 400
        await until(lambda: app.bridges.all["second"].status.state == "connected")
        assert (await ask(http, app, "DELETE", "/bridges/second"))[0] == 200
        assert list(app.bridges.all) == ["up"]
        assert "$bridge/second" not in app.engine.sessions
        assert (await ask(http, app, "DELETE", "/bridges/second"))[0] == 404
        await parted(app, remote)


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", "/bridges/new", {}, "bridges.mqtt.new.server: missing"),
        ("POST", "/bridges/new", {"server": "http://x"}, "allowed: mqtt-tcp"),
        ("POST", "/bridges/cache", {"server": "mqtt-tcp://x"}, "cannot have the name"),
        ("PUT", "/bridges/none", {"server": "mqtt-tcp://x"}, 'there is no bridge "none"'),
        ("POST", "/bridges/switch/none", {"data": {}}, 'there is no bridge "none"'),
        ("POST", "/bridges/switch/up", {"data": {}}, "true or false"),
        ("POST", "/bridges/switch/up", {}, "no object data"),
        ("POST", "/bridges/sub/up", {"data": {"subscription": [{"remote_topic": "a/#/b"}]}}, "an entry has"),
        (
            "POST",
            "/bridges/sub/up",
            {"data": {"subscription": [{"remote_topic": "a/#/b", "local_topic": ""}]}},
            "whole last level",
        ),
        ("POST", "/bridges/unsub/up", {"data": {"unsubscription": ["a"]}}, "a list of objects"),
    ],
)
async def test_what_http_refuses(
    serve: Serve,  # noqa: F811
    http: aiohttp.ClientSession,  # noqa: F811
    method: str,
    path: str,
    body: dict[str, Any],
    message: str,
) -> None:
    app = await serve("", bridge("mqtt-tcp://127.0.0.1:1", *BOTH))
    status, answer = await ask(http, app, method, path, body)
    assert status in (400, 404)
    assert message in answer["message"]


async def test_metrics(serve: Serve, http: aiohttp.ClientSession) -> None:  # noqa: F811
    with TestBroker() as remote:
        app = await serve("", bridge(server(remote), *BOTH))
        await until(lambda: app.bridges.all["up"].status.state == "connected")
        remote.publish("in/x", "1", qos=1)
        remote.publish("in/x", "2", qos=1)
        await until(lambda: app.bridges.all["up"].status.counters.received == 2)
        found = await families(http, app)
        assert found["pybroker_bridge_connected"] == 1
        assert found["pybroker_bridge_messages_received_total"] == 2
        assert found["pybroker_bridge_connects_total"] == 1
        _, answer = await ask(http, app, "GET", "/metrics")
        (one,) = answer["metrics"]
        assert (one["bridge name"], one["received messages"]) == ("up", 2)
        await parted(app, remote)


async def parted(app: App, remote: TestBroker) -> None:
    """The bridges have taken leave of ``remote``, which ends before the broker that has them."""
    for name in app.bridges.all:
        app.bridges.switch(name, on=False)
    await until(lambda: remote.running.call(lambda: not remote.running.app.engine.connected))


async def families(http: aiohttp.ClientSession, app: App) -> dict[str, float]:  # noqa: F811
    async with http.get(url(app, "/metrics")) as answer:
        text = await answer.text()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("bridge") == "up"
    }


def test_lines_for_people() -> None:
    with TestBroker() as remote, bridged(bridge(server(remote), *BOTH)) as broker:
        broker.publish("out/x", "1", qos=1)
        remote.wait_for("out/x")
        wait_until(lambda: not status(broker).queued, "it is acknowledged")
        now = status(broker)
        lines = _lines(now.to_dict(), now.since + 3)
        assert lines == [
            f"up: connected for 3 s, {server(remote)}",
            "  waiting: 0, sent: 1, received: 0, links: 1",
        ]
    with TestBroker(conf_text=bridge("mqtt-tcp://127.0.0.1:1", *BOTH)) as broker:
        wait_until(lambda: status(broker).state == "disconnected", "it has failed")
        now = status(broker)
        assert now.next_try is not None
        lines = _lines(now.to_dict(), now.next_try - 2)
        assert lines[1:3] == ["  last error: nothing listens there", "  next try in 2.0 s"]


def test_two_test_brokers() -> None:
    with warnings.catch_warnings(), TestBroker() as edge, TestBroker() as cloud:
        warnings.simplefilter("error")
        edge.bridge_to(
            cloud,
            forwards=[{"local_topic": "out/#", "prefix": "edge/"}],
            subscription=[{"remote_topic": "cmd/#"}],
        )
        edge.publish("out/x", "1", qos=1)
        assert cloud.wait_for("edge/out/x").text == "1"
        cloud.publish("cmd/x", "2", qos=1)
        assert edge.wait_for("cmd/x").text == "2"
        with cloud.outage():
            edge.publish("out/x", "3", qos=1)
        assert cloud.wait_for("edge/out/x", count=2)[1].text == "3"
        with cloud.faults("drop", packet="PUBACK", client="bridge", times=1):
            edge.publish("out/y", "4", qos=1)
            cloud.wait_for("edge/out/y")


def test_two_test_brokers_and_a_mistake() -> None:
    with TestBroker() as edge, TestBroker(users={"a": "b"}) as cloud:
        with pytest.raises(ConfigError, match="local_topic: missing"):
            edge.bridge_to(cloud, forwards=[{"topic": "x"}])
        with pytest.raises(WaitTimeout, match="it refuses the connection: not authorized"):
            edge.bridge_to(cloud, forwards=[{"local_topic": "x"}])
