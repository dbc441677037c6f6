"""The rest of the API: topics, bans, sessions, listeners, settings, numbers and the OpenAPI document."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pybroker.broker.config import load
from pybroker.broker.rest.api import ROUTES
from tests.waiting import until

from ..imports import ROOT
from .conftest import End, Serve, basic, url
from .test_api import ask, mqtt

SECRET = "username = ann\npassword = xyzzy"


async def test_banned_clients_are_disconnected_and_refused(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    async with mqtt(app, "lamp"), mqtt(app, "door"):
        wanted = {"who": "lamp", "as": "clientid", "reason": "noisy"}
        status, answer = await ask(http, app, "POST", "/banned", wanted)
        assert (status, answer["data"]["until"]) == (200, None)
        await until(lambda: app.engine.connected == 1)
        with pytest.raises(aiomqtt.MqttError):
            async with mqtt(app, "lamp"):
                pass
        assert app.engine.counters.refused["banned"] == 1
        _, answer = await ask(http, app, "GET", "/banned")
        assert [one["who"] for one in answer["data"]] == ["lamp"]
        assert (await ask(http, app, "DELETE", "/banned/clientid/lamp"))[0] == 200
        assert (await ask(http, app, "DELETE", "/banned/clientid/lamp"))[0] == 404
        async with mqtt(app, "lamp"):
            assert app.engine.connected == 2


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"who": "a"},
        {"who": 1, "as": "clientid"},
        {"who": "a", "as": "planet"},
        {"who": "a", "as": "username", "until": 1},
        {"who": "a", "as": "username", "until": True},
        {"who": "a", "as": "username", "reason": 7},
        {"who": "a", "as": "username", "untill": 40_000_000_000},
    ],
)
async def test_bans_that_are_none(serve: Serve, http: aiohttp.ClientSession, wanted: Any) -> None:
    app = await serve()
    status, answer = await ask(http, app, "POST", "/banned", wanted)
    assert (status, answer["code"]) == (400, 108)
    assert not app.engine.bans


async def test_sessions_and_listeners(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    async with mqtt(app, "lamp") as client:
        await client.subscribe("a/+")
        _, answer = await ask(http, app, "GET", "/sessions/lamp")
        expected = {"clientid": "lamp", "connected": True, "subscriptions_cnt": 1, "mqueue_len": 0}
        assert {key: answer["data"][key] for key in expected} == expected
        _, answer = await ask(http, app, "GET", "/routes?_limit=1")
        assert answer["data"] == [{"topic": "a/+", "node": "pybroker@127.0.0.1"}]
        assert answer["meta"] == {"page": 1, "limit": 1, "count": 1}
        _, answer = await ask(http, app, "GET", "/listeners")
        (listener,) = answer["data"][0]["listeners"]
        assert (listener["protocol"], listener["current_conns"]) == ("mqtt:tcp", 1)
        _, answer = await ask(http, app, "GET", "/stats")
        assert answer["data"][0]["stats"]["connections.count"] == 1
        assert (await ask(http, app, "DELETE", "/sessions/lamp"))[0] == 200
        await until(lambda: len(app.engine.sessions) == 0)
    assert (await ask(http, app, "GET", "/sessions/lamp"))[0] == 404


async def test_reload_changes_what_it_names(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    wanted = {"msq_len": 7, "keepalive_backoff": 2, "allow_anonymous": False, "qos_duration": -1, "foo": 1}
    _, answer = await ask(http, app, "POST", "/reload", {"data": wanted})
    assert answer == {"code": 0, "message": "without effect: qos_duration, foo"}
    assert (app.engine.mqtt.max_mqueue_len, app.engine.mqtt.keepalive_multiplier) == (7, 2.0)
    with pytest.raises(aiomqtt.MqttError):
        async with mqtt(app, "anybody"):
            pass


async def test_no_secret_is_shown(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve(SECRET, "auth.password { lamp = p-lamp }")
    async with http.get(url(app, "/api/v4/configuration"), headers=basic("ann", "xyzzy")) as answer:
        text = await answer.text()
    assert "xyzzy" not in text
    assert "p-lamp" not in text
    found = json.loads(text)["data"]
    assert found["auth"] == [{"login": "lamp", "password": "******"}]
    body = {"data": {"auth": [*found["auth"], {"username": "door", "password": "p-door"}]}}
    async with http.post(
        url(app, "/api/v4/configuration/auth"), headers=basic("ann", "xyzzy"), json=body
    ) as answer:
        assert answer.status == 200
    assert app.settings.auth.passwords == {"lamp": "p-lamp", "door": "p-door"}


async def test_a_section_that_needs_the_file(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    status, answer = await ask(http, app, "POST", "/configuration", {"data": {"tls": {"enable": True}}})
    assert (status, answer["code"]) == (400, 108)


async def test_the_file_is_replaced_when_it_is_right(
    serve: Serve, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    app = await serve(SECRET)
    conf = tmp_path / "0.conf"
    conf.chmod(0o640)
    before = conf.read_text()
    path, headers = url(app, "/api/v4/config_update"), basic("ann", "xyzzy")
    for wrong in ("", "not { hocon", "mqtt.max_qos = 7"):
        async with http.post(path, headers=headers, data=wrong) as answer:
            found = await answer.json()
            assert (answer.status, found["code"]) == (400, 117)
            assert ".0.conf." not in found["message"], "the user knows nothing of such a file"
            if wrong:
                assert f"{conf}:1" in found["message"]
        assert conf.read_text() == before
    async with http.post(path, headers=headers, data="mqtt.max_mqueue_len = 9\n") as answer:
        assert answer.status == 200
    assert load(conf).mqtt.max_mqueue_len == 9
    assert conf.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["0.conf"]


async def test_the_file_is_not_for_everybody(
    serve: Serve, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    app = await serve()
    status, answer = await ask(http, app, "POST", "/config_update", b"mqtt.max_mqueue_len = 9\n")
    assert status == 403
    assert "http_server.password" in answer["message"]
    assert "max_mqueue_len" not in (tmp_path / "0.conf").read_text()


async def test_a_broker_in_another_program_is_not_stopped(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    assert (await ask(http, app, "POST", "/ctrl/stop"))[0] == 404
    app.end = end = End()
    end.wrong.append("port 1 is in use")
    status, answer = await ask(http, app, "POST", "/ctrl/restart")
    assert (status, answer["code"]) == (400, 117)
    assert "port 1 is in use" in answer["message"]
    end.wrong.clear()
    assert (await ask(http, app, "POST", "/ctrl/restart"))[0] == 200
    await until(lambda: end.asked == [True])


# ---- numbers


async def scrape(http: aiohttp.ClientSession, address: str) -> dict[str, Any]:
    async with http.get(address) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = await answer.text()
    return {family.name: family for family in text_string_to_metric_families(text)}


WEBHOOK = 'webhook.web { url = "http://127.0.0.1:9/", events = [{ event = "on_message_publish" }] }'


async def test_metrics_are_those_of_the_broker(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve("", WEBHOOK)
    async with mqtt(app, "lamp") as client:
        await client.publish("a", b"x", qos=1)
        found = await scrape(http, url(app, "/metrics"))
        values = {name: family.samples[0].value for name, family in found.items() if family.samples}
        assert values["pybroker_connections"] == 1
        assert values["pybroker_messages_received"] == 1
        assert values["pybroker_bytes_received"] == app.engine.counters.bytes_received
        assert values["process_resident_memory_bytes"] > 1_000_000
        assert values["pybroker_event_loop_lag_seconds"] >= 0
        (matched,) = found["pybroker_webhook_matched"].samples
        assert matched.labels["endpoint"] == "web"
        buckets = [s for s in found["pybroker_webhook_response_seconds"].samples if s.name.endswith("bucket")]
        assert buckets[-1].labels["le"] == "+Inf"


async def test_names_and_help_of_metrics(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve("", WEBHOOK)
    async with http.get(url(app, "/metrics")) as answer:
        text = await answer.text()
    types = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    assert set(types) == set(re.findall(r"# HELP (\S+) \S", text))
    ours = {name: kind for name, kind in types.items() if not name.startswith("mod_event_pusher_")}
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in ours.items())


# ---- the document


def test_the_document_names_every_route() -> None:
    from pybroker.broker.rest.openapi import document

    found = document(ROUTES)
    operations = [one for path in found["paths"].values() for one in path.values()]
    assert len(operations) == len(ROUTES)
    assert len({one["operationId"] for one in operations}) == len(ROUTES)


# ---- the dashboard


async def test_the_dashboard_asks_for_metrics_that_there_are(
    serve: Serve, http: aiohttp.ClientSession
) -> None:
    app = await serve("", WEBHOOK)
    async with http.get(url(app, "/metrics")) as answer:
        types = dict(re.findall(r"# TYPE (\S+) (\S+)", await answer.text()))
    served = {name if kind != "histogram" else f"{name}_bucket" for name, kind in types.items()}
    dashboard = json.loads((ROOT / "conf/grafana-dashboard.json").read_text())
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    names = set(re.findall(r"\b((?:pybroker|process|python)_\w+)", asked))
    assert len(names) > 20
    assert names <= served
