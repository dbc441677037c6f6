"""Clients, subscriptions, publishing, retained messages, webhooks and faults over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest

from pybroker.broker.app import App
from pybroker.broker.live.packets import MAX_CLIENTS
from pybroker.broker.rest.listing import AT_ONCE
from tests.waiting import DEADLINE, until

from .conftest import Serve, url

Http = aiohttp.ClientSession


async def ask(http: Http, app: App, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON of an answer. ``body`` is sent as JSON, bytes as they are."""
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    async with http.request(method, url(app, "/api/v4" + path), data=content) as answer:
        return answer.status, await answer.json()


@asynccontextmanager
async def mqtt(app: App, name: str, **options: Any) -> AsyncIterator[aiomqtt.Client]:
    port = next(iter(app.listeners)).port
    async with aiomqtt.Client("127.0.0.1", port, identifier=name, **options) as client:
        yield client


async def next_message(client: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(DEADLINE):
        return await anext(client.messages)


# ---- clients


async def test_a_client_in_both_spellings(serve: Serve, http: Http) -> None:
    app = await serve()
    async with mqtt(app, "sp ace/ü", username="ann", keepalive=30) as client:
        await client.subscribe("a/#", qos=1)
        status, answer = await ask(http, app, "GET", "/clients/sp%20ace%2F%C3%BC")
        (found,) = answer["data"]
        assert status == 200
        assert list(found)[:7] == [
            "client_id",
            "username",
            "keepalive",
            "conn_state",
            "clean_start",
            "proto_name",
            "proto_ver",
        ]
        expected = {"clientid": "sp ace/ü", "connected": True, "conn_state": "connected", "proto_ver": 4}
        assert {key: found[key] for key in expected} == expected
        _, answer = await ask(http, app, "GET", "/clients/sp%20ace%2F%C3%BC/details")
        assert [one["topic"] for one in answer["data"]["filters"]] == ["a/#"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", {"lamp", "door", "away"}),
        ("?conn_state=disconnected", {"away"}),
        ("?username=ann", {"lamp", "away"}),
        ("?username=ann&conn_state=connected", {"lamp"}),
        ("?proto_ver=5", set()),
        ("?clientid=", {"lamp", "door", "away"}),
        ("?clientid=none", set()),
    ],
)
async def test_filters(serve: Serve, http: Http, query: str, names: set[str]) -> None:
    app = await serve()
    async with mqtt(app, "away", username="ann", clean_session=False):
        pass
    async with mqtt(app, "lamp", username="ann"), mqtt(app, "door"):
        await until(lambda: app.engine.connected == 2)
        _, answer = await ask(http, app, "GET", "/clients" + query)
        assert {one["client_id"] for one in answer["data"]} == names


@pytest.mark.parametrize("query", ["?foo=bar", "?proto_ver=9", "?conn_state=idle", "?_page=0", "?_limit=x"])
async def test_bad_filters(serve: Serve, http: Http, query: str) -> None:
    app = await serve()
    status, answer = await ask(http, app, "GET", "/clients" + query)
    assert (status, answer["code"]) == (400, 108)
    assert answer["message"]


async def test_pages(serve: Serve, http: Http) -> None:
    app = await serve()
    topics = [f"t/{number:03}" for number in range(AT_ONCE + 30)]
    async with mqtt(app, "many") as client:
        await client.subscribe([(topic, 0) for topic in topics])
        _, whole = await ask(http, app, "GET", "/subscriptions")
        assert [one["topic"] for one in whole["data"]] == topics
        assert "meta" not in whole
        _, page = await ask(http, app, "GET", "/subscriptions/many?_page=3&_limit=100")
        assert [one["topic"] for one in page["data"]] == topics[200:]
        assert page["meta"] == {"page": 3, "limit": 100, "count": len(topics)}


async def test_kick(serve: Serve, http: Http) -> None:
    app = await serve()
    with suppress(aiomqtt.MqttError):  # that it is disconnected, at the end of the block
        async with mqtt(app, "lamp", clean_session=False) as client:
            await client.subscribe("a")
            assert await ask(http, app, "DELETE", "/clients/lamp") == (200, {"code": 0})
            assert "lamp" not in app.engine.sessions
            with pytest.raises(aiomqtt.MqttError):
                await next_message(client)
    status, answer = await ask(http, app, "DELETE", "/clients/lamp")
    assert (status, answer["code"]) == (404, 112)


# ---- publish and subscribe


@pytest.mark.parametrize(
    ("body", "payload", "qos"),
    [
        ({"topic": "t/a", "payload": "žlutý 😀"}, "žlutý 😀".encode(), 0),
        ({"topic": "t/a", "payload": "a\0b", "qos": 2}, b"a\0b", 2),
        ({"topic": "t/a", "payload": "AAH//g==", "encoding": "base64"}, b"\x00\x01\xff\xfe", 0),
        ({"topic": "t/a", "payload": "AAH//g==", "decoding": "base64"}, b"\x00\x01\xff\xfe", 0),
        ({"topic": "t/a", "payload": "", "qos": 1.5}, b"", 1),
        ({"Topic": "t/a", "PAYLOAD": "x"}, b"x", 0),
        (b'{"topic":"t/a","topic":"t/b","payload":"x"} trailing', b"x", 0),
        ({"topics": "none,t/a", "payload": "x", "qos": 1}, b"x", 1),
    ],
)
async def test_publish(serve: Serve, http: Http, body: Any, payload: bytes, qos: int) -> None:
    app = await serve()
    async with mqtt(app, "s") as client:
        await client.subscribe("t/a", qos=2)
        assert await ask(http, app, "POST", "/mqtt/publish", body) == (200, {"code": 0})
        message = await next_message(client)
        assert (message.payload, message.qos) == (payload, qos)


async def test_properties_reach_subscribers(serve: Serve, http: Http) -> None:
    app = await serve()
    properties = {
        "payload_format_indicator": 1,
        "message_expiry_interval": 70000,
        "response_topic": "r/t",
        "correlation_data": "cd",
        "content_type": "text/plain",
        "user_properties": {"b": 10010, "a": "nano", "f": True, "skipped": None},
    }
    async with mqtt(app, "s", protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("t")
        await ask(
            http, app, "POST", "/mqtt/publish", {"topic": "t", "payload": "x", "properties": properties}
        )
        found = (await next_message(client)).properties
        assert found is not None
        assert found.UserProperty == [("b", "10010"), ("a", "nano"), ("f", "true")]
        assert (found.ResponseTopic, found.CorrelationData, found.ContentType) == (
            "r/t",
            b"cd",
            "text/plain",
        )
        assert found.PayloadFormatIndicator == 1
        assert 69_990 <= found.MessageExpiryInterval <= 70_000


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"payload": "x"}, 200, 108),
        ({"topic": "t"}, 200, 108),
        ({"topic": "t", "payload": 5}, 200, 108),
        ({"topic": "t", "payload": "x", "qos": 3}, 200, 108),
        ({"topic": "t", "payload": "x", "qos": -1}, 200, 108),
        ({"topic": "t/#", "payload": "x"}, 200, 108),
        ({"topic": "", "payload": "x"}, 200, 108),
        ({"topic": "$SYS/x", "payload": "x"}, 200, 108),
        ({"topics": ["a"], "payload": "x"}, 200, 108),
        ({"topics": "a," * (AT_ONCE + 1), "payload": "x"}, 200, 108),
        ({"topic": "t", "payload": "@@@", "encoding": "base64"}, 200, 108),
        ({"topic": "t", "payload": "x", "properties": {"subscription_identifier": 5}}, 200, 108),
        ([{"topic": "t", "payload": "x"}], 400, 109),
        (b"not json", 400, 109),
        (b"", 400, 109),
        (b"\xff", 400, 109),
        (b"[" * 100_000, 400, 109),
    ],
)
async def test_publish_refused(serve: Serve, http: Http, body: Any, status: int, code: int) -> None:
    app = await serve()
    found, answer = await ask(http, app, "POST", "/mqtt/publish", body)
    assert (found, answer["code"]) == (status, code)
    assert answer["message"]
    assert app.engine.counters.dropped == {}


async def test_a_body_that_is_too_large(serve: Serve, http: Http) -> None:
    app = await serve("max_body = 1KB")
    status, answer = await ask(http, app, "POST", "/mqtt/publish", {"topic": "t", "payload": "x" * 2000})
    assert (status, answer["code"]) == (413, 109)
    assert "1024 bytes" in answer["message"]


async def test_a_batch(serve: Serve, http: Http) -> None:
    app = await serve()
    async with mqtt(app, "s") as client:
        await client.subscribe("t/#")
        whole = [{"topic": f"t/{payload}", "payload": payload} for payload in ("one", "three")]
        batch = [whole[0], {"topic": "t/2"}, 7, whole[1]]
        status, answer = await ask(http, app, "POST", "/mqtt/publish_batch", batch)
        assert (status, answer["code"]) == (200, 0)
        assert [one["code"] for one in answer["data"]] == [0, 108, 108, 0]
        assert [(await next_message(client)).payload for _ in range(2)] == [b"one", b"three"]


async def test_subscribe_for_a_client(serve: Serve, http: Http) -> None:
    app = await serve(more="limits.max_subscriptions = 2")
    async with mqtt(app, "s") as client:
        await until(lambda: app.engine.connected)
        wanted = {"clientid": "s", "topics": "a/#,b", "qos": 1}
        assert (await ask(http, app, "POST", "/mqtt/subscribe", wanted))[1] == {"code": 0}
        await ask(http, app, "POST", "/mqtt/publish", {"topic": "a/x", "payload": "1", "qos": 2})
        assert (await next_message(client)).qos == 1
        for bad, code in (
            ({"clientid": "s", "topic": "c"}, 108),  # one too many
            ({"clientid": "s", "topic": "a#"}, 108),
            ({"topic": "a"}, 108),
            ({"clientid": "nobody", "topic": "a"}, 112),
        ):
            assert (await ask(http, app, "POST", "/mqtt/subscribe", bad))[1]["code"] == code
        gone = {"clientid": "s", "topic": "a/#"}
        assert (await ask(http, app, "POST", "/mqtt/unsubscribe_batch", [gone]))[1]["data"][0]["code"] == 0
        assert set(app.engine.sessions.get("s").subscriptions) == {"b"}  # type: ignore[union-attr]


# ---- retained


async def test_retained(serve: Serve, http: Http) -> None:
    app = await serve(more="sys.interval = 0")
    for topic, payload in (("a/1", "x" * 1000), ("a/2", ""), ("b", "y")):
        body = {"topic": topic, "payload": payload, "retain": True, "qos": 1}
        await ask(http, app, "POST", "/mqtt/publish", body)
    _, answer = await ask(http, app, "GET", "/retained?topic=a/%23")
    (found,) = answer["data"]
    assert (found["topic"], found["size"], len(found["payload"]), found["qos"]) == ("a/1", 1000, 256, 1)
    _, answer = await ask(http, app, "GET", "/retained/a%2F1")
    assert len(answer["data"]["payload"]) == 1000
    assert await ask(http, app, "DELETE", "/retained/a%2F1") == (200, {"code": 0})
    for method in ("GET", "DELETE"):
        status, _ = await ask(http, app, method, "/retained/a%2F1")
        assert status == 404
    _, answer = await ask(http, app, "GET", "/retained")
    assert [one["topic"] for one in answer["data"]] == ["b"]


async def test_a_retained_message_alone(serve: Serve, http: Http) -> None:
    app = await serve()
    body = {
        "topic": "a/b",
        "payload": "ä" * 200,
        "retain": True,
        "properties": {"content_type": "text/plain"},
    }
    await ask(http, app, "POST", "/mqtt/publish", body)
    _, answer = await ask(http, app, "GET", "/retained")
    assert answer["data"][0]["payload"] == "ä" * 128
    _, answer = await ask(http, app, "GET", "/retained/a%2Fb")
    found = answer["data"]
    assert (found["payload"], found["size"]) == ("ä" * 200, 400)
    assert found["properties"] == {"content_type": "text/plain"}
    _, answer = await ask(http, app, "GET", "/retained/a%2Fb?limit=5")
    assert answer["data"]["payload"] == "ää", "no half of a character"
    assert (await ask(http, app, "GET", "/retained/a%2Fb?limit=x"))[0] == 400


# ---- packets


async def test_the_last_packets_of_a_client(serve: Serve, http: Http) -> None:
    app = await serve()
    path = "/clients/a%2Fb/packets"
    assert await ask(http, app, "GET", path) == (200, {"code": 0, "data": []})
    async with mqtt(app, "a/b") as client:
        await client.publish("room/light", "on", qos=1)
    _, answer = await ask(http, app, "GET", path)
    assert [one["type"] for one in answer["data"]][:4] == ["CONNECT", "CONNACK", "PUBLISH", "PUBACK"]
    assert answer["data"][2]["says"] == "room/light qos 1 id 1: on"
    last = answer["data"][-1]["number"]
    assert (await ask(http, app, "GET", f"{path}?after={last}"))[1]["data"] == []
    assert (await ask(http, app, "GET", f"{path}?after=x"))[0] == 400
    for number in range(MAX_CLIENTS - 1):
        await ask(http, app, "GET", f"/clients/{number}/packets")
    status, answer = await ask(http, app, "GET", "/clients/other/packets")
    assert (status, answer["code"]) == (503, 108)


# ---- webhooks and faults


async def test_dead_letters(serve: Serve, http: Http, tmp_path: Path) -> None:
    from tests.integration.support import Endpoint

    endpoint = Endpoint()
    try:
        endpoint.status = 400
        app = await serve(
            more=f'webhook.audit {{ url = "{endpoint.url}", spool.path = "{tmp_path}/spool", '
            "events = [{event = on_message_publish}] }"
        )
        for number in range(3):
            await ask(http, app, "POST", "/mqtt/publish", {"topic": f"t/{number}", "payload": "x"})
        await until(lambda: app.webhooks.sink.stats()[0].dead_letters == 3)
        _, answer = await ask(http, app, "GET", "/webhooks/audit/dead")
        letters = answer["data"]
        assert [one["topic"] for one in letters] == ["t/0", "t/1", "t/2"]
        assert letters[0]["body"]["payload"] == "x"
        assert letters[0]["why"] == "answered 400"
        endpoint.status = 200
        first = letters[0]["number"]
        _, answer = await ask(http, app, "POST", f"/webhooks/audit/dead/retry?number={first}")
        assert answer["data"] == {"delivered": 1, "failed": 0, "stopped": None}
        status, answer = await ask(http, app, "DELETE", "/webhooks/audit/dead")
        assert status == 400
        assert await ask(http, app, "DELETE", "/webhooks/audit/dead?all=true") == (200, {"code": 0})
        _, answer = await ask(http, app, "GET", "/webhooks/audit/dead")
        assert answer["data"] == []
        _, answer = await ask(http, app, "GET", "/webhooks")
        assert [one["name"] for one in answer["data"]] == ["audit"]
        for path in ("/webhooks/none", "/webhooks/none/dead"):
            assert (await ask(http, app, "GET", path))[0] == 404
    finally:
        endpoint.close()


async def test_the_last_deliveries(serve: Serve, http: Http) -> None:
    from tests.integration.support import Endpoint

    endpoint = Endpoint()
    try:
        web = (
            f'webhook.web {{ url = "{endpoint.url}", headers {{ X-Key = "s3cret" }}, retry.max_attempts = 1, '
        )
        pusher = 'event_pusher.log { backend = "mqtt-topic", topic = "log", '
        events = "events = [{event = on_message_publish, topic = t}] }"
        app = await serve(more=f"{web}{events}\n{pusher}{events}")
        endpoint.status = 500
        await ask(http, app, "POST", "/mqtt/publish", {"topic": "t", "payload": "one"})
        await until(lambda: sum(stats.succeeded + stats.dead for stats in app.webhooks.sink.stats()) == 2)
        _, answer = await ask(http, app, "GET", "/webhooks/web/deliveries")
        (failure,) = answer["data"]
        assert (failure["why"], failure["verdict"], failure["status"]) == ("answered 500", "retry", 500)
        assert json.loads(failure["request"]["body"])["payload"] == "one"
        assert ["x-key", "******"] in failure["request"]["headers"]
        assert (await ask(http, app, "GET", "/webhooks/log/deliveries"))[1]["data"] == []
        endpoint.status = 204
        await ask(http, app, "POST", "/mqtt/publish", {"topic": "t", "payload": "two"})
        await until(lambda: sum(stats.succeeded for stats in app.webhooks.sink.stats()) == 3)
        last = failure["number"]
        _, answer = await ask(http, app, "GET", f"/webhooks/web/deliveries?after={last}")
        assert [(one["verdict"], one["status"]) for one in answer["data"]] == [("delivered", 204)]
        _, answer = await ask(http, app, "GET", "/webhooks/log/deliveries")
        assert [(one["verdict"], one["topic"]) for one in answer["data"]] == [("delivered", "t")]
        assert (await ask(http, app, "GET", "/webhooks/none/deliveries"))[0] == 404
    finally:
        endpoint.close()


async def test_faults(serve: Serve, http: Http) -> None:
    app = await serve(more="faults { }")
    status, answer = await ask(
        http, app, "POST", "/faults", {"action": "drop", "packet": "PUBACK", "times": 1}
    )
    assert status == 200
    number = answer["data"]["number"]
    _, answer = await ask(http, app, "GET", "/faults")
    assert [(one["action"], one["packet"]) for one in answer["data"]] == [("drop", "PUBACK")]
    status, answer = await ask(http, app, "POST", "/faults", {"action": "drop", "packet": "SUBAK"})
    assert status == 400
    assert "SUBACK" in answer["message"]
    assert await ask(http, app, "DELETE", f"/faults/{number}") == (200, {"code": 0})
    assert (await ask(http, app, "DELETE", f"/faults/{number}"))[0] == 404


async def test_no_faults_without_the_section(serve: Serve, http: Http) -> None:
    app = await serve()
    status, answer = await ask(http, app, "GET", "/faults")
    assert status == 404
    assert "faults { }" in answer["message"]
