"""What a real NanoMQ answered, asked of ours: 223 exchanges in the order in which they were recorded."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest
from aiomqtt import ProtocolVersion
from yarl import URL

from pybroker.broker.app import App
from pybroker.broker.engine.publish import broadcast
from tests.waiting import DEADLINE

from .conftest import End, Serve

RECORDINGS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("nanomq_rest.json").read_text(encoding="utf-8")
)
SERVER = "username = admin\npassword = public"
USERS = "auth.password { u1 = p1, u2 = p2 }"

NO_BRIDGE, BAD, PAGES = "there are no bridges here", "answered 108: it would be lost or harmful", "paging"
EMQX = "EMQX has it, NanoMQ has not"
DIFFERS: dict[str, tuple[int, int | None, str]] = {
    "outside the root": (200, None, "the page"),
    "query on root": (200, 0, "a query that means nothing changes nothing"),
    "method FOO": (400, None, "no HTTP method"),
    "DELETE on clients": (404, 112, EMQX),
    "clients?_page=1&_limit=2": (200, 0, PAGES),
    "mqtt/subscribe": (200, 0, EMQX),
    "mqtt/unsubscribe": (200, 0, EMQX),
    "mqtt/subscribe_batch": (400, 109, EMQX),
    "mqtt/unsubscribe_batch": (400, 109, EMQX),
    "publish decoding base64 of bad base64": (200, 108, BAD),
    "publish properties: subscription_identifier": (200, 108, BAD),
    "publish qos 3": (200, 108, BAD),
    "publish qos -1": (200, 108, BAD),
    "publish to a wildcard topic": (200, 108, BAD),
    "publish to a topic with +": (200, 108, BAD),
    "publish to an empty topic": (200, 108, BAD),
    "publish to $SYS": (200, 108, BAD),
    "configuration POST auth": (200, 0, "NanoMQ crashes"),
    "config_update without a body": (400, 117, "NanoMQ crashes"),
    "config_update, not HOCON": (400, 117, "NanoMQ crashes"),
    "bridge switch off": (404, 108, NO_BRIDGE),
    "bridge switch on": (404, 108, NO_BRIDGE),
    "bridge switch on twice": (404, 108, NO_BRIDGE),
    "bridge switch missing key": (404, 108, NO_BRIDGE),
    "bridge switch unknown name": (404, 108, "a 204 with a length lets a client wait"),
    "bridge sub POST": (404, 108, NO_BRIDGE),
    "bridge sub no data": (404, 108, NO_BRIDGE),
    "bridge unsub POST": (404, 108, NO_BRIDGE),
    "bridge PUT": (404, 115, NO_BRIDGE),
    "bridge DELETE": (404, 108, "bridges can be removed while running"),
    "bridge POST create": (400, 108, "bridges can be added while running; this body is no bridge"),
}
"""Step to status, code and why it is so: docs/rest.md tells it too."""
NOTHING: list[dict[str, Any]] = []
DELIVERED_OTHERWISE: dict[str, tuple[dict[str, Any] | list[dict[str, Any]], str]] = {
    "publish encoding base64": ({"payload": "Hello"}, "the payload is decoded, as EMQX does"),
    "publish payload with escaped NUL": ({"payload": "a\0b"}, "NanoMQ cuts it there"),
    "publish decoding base64 of bad base64": (NOTHING, BAD),
    "publish qos 3": (NOTHING, BAD),
    "publish qos -1": (NOTHING, BAD),
    "retained set": ({"retain": False}, "it goes to a subscription that was there before [MQTT-3.3.1-9]"),
    "retained cleared": ({"retain": False}, "as before"),
}
"""Step to what of each delivered message is otherwise, or to all that is delivered, and why."""
WATCHED = ("c311", "c5")
"""The clients whose messages were recorded; these also have `p/#` in the later part."""
MENDED = {
    "client by id with a space, encoded",
    "clients?clientid=sp%20ace",
    "clients?clean_start=true",
    "clients?clean_start=false",
}
"""NanoMQ finds nobody whose name is percent-encoded, and forgets what a client who left had asked for."""
SHAPES = ("/brokers", "/nodes", "/metrics", "/reload")
"""What is compared by its keys: the values are of another broker, or of another time."""


class Replay:
    def __init__(self, app: App, http: aiohttp.ClientSession, clients: AsyncExitStack) -> None:
        self.app, self.http, self.clients = app, http, clients
        self.persistent: aiomqtt.Client | None = None
        self.wrong: list[str] = []
        self.watched: dict[str, aiomqtt.Client] = {}
        self.markers = 0

    async def run(self) -> None:
        for exchange in RECORDINGS:
            if exchange["step"] == "brokers":
                await self.connect_clients()
            if exchange["step"] == "clients with an offline persistent session":
                assert self.persistent is not None
                await self.persistent.__aexit__(None, None, None)
            if exchange["step"] == "publish to a wildcard topic":
                for client in self.watched.values():
                    await client.subscribe("p/#", qos=2)
            await self.ask(exchange)
            if "delivered" in exchange:
                self.compare_delivered(exchange, await self.delivered())

    async def connect_clients(self) -> None:
        for name, options, topics in (
            ("c31", {"protocol": ProtocolVersion.V31}, {"d/one": 0, "$share/g1/sh/#": 1}),
            (
                "c5",
                _user("u2") | {"protocol": ProtocolVersion.V5},
                {"t/+/x": 2, "$share/g1/sh/#": 1, "b/one": 0},
            ),
            ("msub", {}, {"m/1": 2, "t/a/x": 2}),
            ("c311", _user("u1") | {"keepalive": 30, "will": aiomqtt.Will("will/c311", "gone")}, {"t/#": 1}),
            ("nanomq-62de2ad7", {"protocol": ProtocolVersion.V5}, {}),
            ("sp ace", _user("u1"), {}),
        ):
            client = await self.clients.enter_async_context(self.mqtt(name, **options))
            if name in WATCHED:
                self.watched[name] = client
            for topic, qos in topics.items():
                await client.subscribe(topic, qos=qos)
        self.persistent = self.mqtt("persist", clean_session=False, **_user("u1"))
        await self.persistent.__aenter__()
        await self.persistent.subscribe([("p/#", 1), ("q", 2)])

    def mqtt(self, name: str, **options: Any) -> aiomqtt.Client:
        port = next(iter(self.app.listeners)).port
        return aiomqtt.Client("127.0.0.1", port, identifier=name, **options)

    async def ask(self, exchange: dict[str, Any]) -> None:
        request = exchange["request"]
        body = re.sub(r"<(\d+) times x>", lambda found: "x" * int(found[1]), request.get("body") or "")
        address = URL(f"http://127.0.0.1:{self.app.rest.port}{request['path']}", encoded=True)
        headers = {"Content-Type": "text/plain", **request["headers"]}
        async with self.http.request(
            request["method"], address, data=body.encode() or None, headers=headers
        ) as answer:
            text = await answer.text()
        self.compare(exchange, answer.status, text)

    async def delivered(self) -> list[dict[str, Any]]:
        """What the watched clients have got since the last time; a message to both of them ends it."""
        self.markers += 1
        marker = f"marker {self.markers}".encode()
        broadcast(self.app.engine, "t/marker/x", marker)
        self.app.engine.flush()
        found = []
        for name, client in self.watched.items():
            while (message := await asyncio.wait_for(anext(client.messages), DEADLINE)).payload != marker:
                found.append(_message(name, message))
        return found

    def compare_delivered(self, exchange: dict[str, Any], found: list[dict[str, Any]]) -> None:
        step = exchange["step"]
        wanted = [_recorded(one) for one in exchange["delivered"]]
        otherwise, _ = DELIVERED_OTHERWISE.get(step, ({}, ""))
        wanted = [one | otherwise for one in wanted] if isinstance(otherwise, dict) else otherwise
        if sorted(map(repr, found)) != sorted(map(repr, wanted)):
            self.wrong.append(f"{step}: delivered {found}, but NanoMQ {wanted}")

    def compare(self, exchange: dict[str, Any], status: int, text: str) -> None:
        step = exchange["step"]
        ours = json.loads(text) if text.startswith("{") else text
        code = ours.get("code") if isinstance(ours, dict) else None
        if step in DIFFERS:
            wanted: Any = DIFFERS[step][:2]
            found: Any = (status, code)
        else:
            recorded = exchange["body"]
            theirs = json.loads(recorded) if recorded.startswith("{") else None
            wanted = (exchange["status"], _essence(exchange, theirs))
            found = (status, _essence(exchange, ours if theirs is not None else None))
        if found != wanted:
            self.wrong.append(f"{step}: {found}, but NanoMQ {wanted}")


def _message(to: str, message: aiomqtt.Message) -> dict[str, Any]:
    """As the recordings have it."""
    assert isinstance(message.payload, bytes)
    properties = message.properties
    return {
        "to": to,
        "topic": message.topic.value,
        "payload": message.payload.decode("latin-1"),
        "qos": message.qos,
        "retain": message.retain,
        "properties": json.loads(json.dumps(properties.json())) if properties is not None else None,
    }


def _recorded(message: dict[str, Any]) -> dict[str, Any]:
    """Long payloads were written down in short."""
    if found := re.fullmatch(r"<(\d+) bytes>", message["payload"]):
        message = message | {"payload": "x" * int(found[1])}
    return message


def _user(name: str) -> dict[str, Any]:
    return {"username": name, "password": f"p{name[1:]}"}


def _essence(exchange: dict[str, Any], answer: Any) -> Any:
    """What is to be the same in both answers."""
    if not isinstance(answer, dict):
        return None
    path = exchange["request"]["path"].removeprefix("/api/v4").partition("?")[0].rstrip("/")
    found = answer.get("data")
    if exchange["step"] in MENDED or (path.startswith("/bridges") and found):
        return answer["code"]
    if path.startswith("/clients") and isinstance(found, list):
        return answer["code"], sorted(_client(one) for one in found)
    if path.startswith("/subscriptions") and isinstance(found, list):
        return answer["code"], sorted((one["clientid"], one["topic"], one["qos"]) for one in found)
    if path.startswith("/configuration") and found:
        return answer["code"], list(found)
    if path == "" and found:
        return answer["code"]
    if path in SHAPES:
        first = found[0] if isinstance(found, list) else found
        return answer.get("code"), list(first or ()), [key for key in answer if key != "message"]
    return {key: value for key, value in answer.items() if key != "message"}


def _client(element: dict[str, Any]) -> tuple[Any, ...]:
    names = ("client_id", "username", "keepalive", "conn_state", "proto_name", "proto_ver")
    # The clean start of a client that has left is told wrongly by NanoMQ.
    clean = element["clean_start"] if element["conn_state"] == "connected" else False
    return (*(element[name] for name in names), clean, element.get("will_topic"), element.get("will_msg"))


async def test_all_recordings(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve(SERVER, USERS)
    app.end = End()
    async with AsyncExitStack() as clients:
        replay = Replay(app, http, clients)
        await replay.run()
    assert not replay.wrong, "\n".join(replay.wrong)


async def test_every_path_of_nanomq_is_listed(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = await serve()
    recorded = json.loads(next(one for one in RECORDINGS if one["step"] == "root with slash")["body"])
    theirs = {(one["method"], _shape(one["path"])) for one in recorded["data"]}
    async with http.get(f"http://127.0.0.1:{app.rest.port}/api/v4") as answer:
        ours = {(one["method"], _shape(one["path"])) for one in (await answer.json())["data"]}
    assert theirs <= ours


def _shape(path: str) -> str:
    shape = re.sub(r":\w+", ":", path.rstrip("/"))
    return re.sub(r"^/configuration/\w+$", "/configuration/:", shape)


@pytest.mark.parametrize("step", [one["step"] for one in RECORDINGS if one["step"].startswith("prometheus")])
async def test_nanomqs_names_for_prometheus(serve: Serve, http: aiohttp.ClientSession, step: str) -> None:
    recorded = next(one for one in RECORDINGS if one["step"] == step)["body"]
    app = await serve()
    async with http.get(f"http://127.0.0.1:{app.rest.port}/api/v4/prometheus") as answer:
        ours = await answer.text()
    assert _without_numbers(ours) == _without_numbers(recorded)


def _without_numbers(text: str) -> str:
    return re.sub(r"(?m) [\d.]+$", " N", text)
