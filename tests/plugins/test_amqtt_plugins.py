"""Plugins of amqtt's own, unmodified, with clients over the network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from aiohttp import web
from amqtt.plugins.sys.broker import BrokerSysPlugin
from pwdlib.hashers.argon2 import Argon2Hasher

from pybroker.amqtt import Broker
from tests.waiting import until

from .test_embedding import LOCAL, client, first, port_of, serving

ANONYMOUS = "amqtt.plugins.authentication.AnonymousAuthPlugin"
FILE_AUTH = "amqtt.plugins.authentication.FileAuthPlugin"
ACL = "amqtt.plugins.topic_checking.TopicAccessControlListPlugin"
TABOO = "amqtt.plugins.topic_checking.TopicTabooPlugin"
SYS = "amqtt.plugins.sys.broker.BrokerSysPlugin"
EVENT_LOGGER = "amqtt.plugins.logging_amqtt.EventLoggerPlugin"
PACKET_LOGGER = "amqtt.plugins.logging_amqtt.PacketLoggerPlugin"
SESSION_DB = "amqtt.contrib.persistence.SessionDBPlugin"


def config(**plugins: Any) -> dict[str, Any]:
    return {"listeners": LOCAL, "plugins": plugins}


async def test_event_and_packet_loggers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "amqtt.broker.plugins")
    plugins = {ANONYMOUS: {}, EVENT_LOGGER: {}, PACKET_LOGGER: {}}
    async with serving(config(**plugins)) as broker, client(port_of(broker), "logged", 5) as logged:
        await logged.subscribe("a")
        await logged.publish("a", b"hello")
        await first(logged)
        await logged.unsubscribe("a")

    for event in (
        "broker_pre_start",
        "broker_post_start",
        "broker_client_connected",
        "broker_client_subscribed",
        "broker_message_received",
        "broker_message_broadcast",
        "broker_client_unsubscribed",
        "broker_client_disconnected",
        "broker_pre_shutdown",
        "broker_post_shutdown",
        "mqtt_packet_received",
        "mqtt_packet_sent",
    ):
        assert f"### 'on_{event}' EVENT FIRED ###" in caplog.text, event
    assert "logged <-in-- PublishPacket" in caplog.text
    assert "logged -out-> PublishPacket" in caplog.text


async def test_sys_topics() -> None:
    with pytest.warns(DeprecationWarning, match="psutil"):
        broker = Broker(config(**{ANONYMOUS: {}, SYS: {"sys_interval": 3600}}))
    await broker.start()
    try:
        async with client(port_of(broker), "c") as subscriber:
            await subscriber.subscribe("$SYS/broker/version")
            assert (await first(subscriber)).payload.startswith(b"aMQTT version")
            await subscriber.subscribe("$SYS/broker/#")
            await first(subscriber)
            [plugin] = [p for p in broker.plugins_manager.plugins if isinstance(p, BrokerSysPlugin)]
            plugin.broadcast_dollar_sys_topics()
            found: dict[str, bytes] = {}
            while "$SYS/broker/cpu/maximum" not in found:
                message = await first(subscriber)
                found[str(message.topic)] = bytes(message.payload)
        assert found["$SYS/broker/clients/connected"] == b"1"
        assert found["$SYS/broker/messages/subscriptions/count"] == b"2"
        assert int(found["$SYS/broker/load/bytes/received"]) > 0
        assert int(found["$SYS/broker/messages/publish/sent"]) >= 2
    finally:
        await broker.shutdown()


async def test_a_password_file(tmp_path: Path) -> None:
    hashed = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1).hash("secret")
    (tmp_path / "passwords").write_text(f"ada:{hashed}\n")
    async with serving(config(**{FILE_AUTH: {"password_file": str(tmp_path / "passwords")}})) as broker:
        async with client(port_of(broker), username="ada", password="secret"):
            pass
        for wrong in ({"username": "ada", "password": "x"}, {"username": "bob", "password": "secret"}, {}):
            with pytest.raises(aiomqtt.MqttError, match=r"Bad user name or password|[Nn]ot authori[sz]ed"):
                async with client(port_of(broker), **wrong):
                    pass


@pytest.mark.filterwarnings("ignore:The 'acl' option is deprecated")
async def test_an_access_control_list() -> None:
    plugins = {
        ANONYMOUS: {},
        ACL: {"publish_acl": {"ada": ["a/#"]}, "acl": {"bob": ["a/+", "free"]}},
    }
    async with (
        serving(config(**plugins)) as broker,
        client(port_of(broker), "ada", 5, username="ada") as ada,
        client(port_of(broker), "bob", 5, username="bob") as bob,
    ):
        granted = [(await bob.subscribe(topic, qos=1))[0].value for topic in ("a/b", "free", "secret")]
        assert granted == [1, 1, 135]
        assert (await ada.subscribe("a/b"))[0].value == 135
        await ada.publish("free", b"denied")
        await ada.publish("a/b", b"allowed")
        assert (await first(bob)).payload == b"allowed"


async def test_taboo_topics() -> None:
    async with (
        serving(config(**{ANONYMOUS: {}, TABOO: {}})) as broker,
        client(port_of(broker), "admin", username="admin") as admin,
        client(port_of(broker), "user", username="user") as user,
    ):
        await user.subscribe("+")
        await admin.publish("prohibited", b"not for users")
        await admin.publish("open", b"for everybody")
        assert (await first(user)).payload == b"for everybody"


async def test_sessions_in_a_data_base(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy", reason="amqtt's SessionDBPlugin needs sqlalchemy")
    pytest.importorskip("aiosqlite", reason="this test keeps its sessions in sqlite")
    passwords = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1).hash("x")
    (tmp_path / "passwords").write_text(f"ada:{passwords}\n")
    plugins = {
        FILE_AUTH: {"password_file": str(tmp_path / "passwords")},
        SESSION_DB: {
            "connection": f"sqlite+aiosqlite:///{tmp_path / 'sessions.db'}",
            "clear_on_shutdown": False,
        },
    }
    known = {"username": "ada", "password": "x"}

    async with serving(config(**plugins)) as broker:
        async with client(port_of(broker), "away", clean_session=False, **known) as away:
            await away.subscribe("news/#", qos=1)
            await broker._events.finish(20)
        async with client(port_of(broker), "pub", **known) as publisher:
            await publisher.publish("news/1", b"while away", qos=1)
            await publisher.publish("state", b"kept", qos=1, retain=True)
            await broker._events.finish(20)

    async with serving(config(**plugins)) as broker:
        assert list(broker.sessions) == ["away"]
        assert broker.retained_messages["state"].data == b"kept"
        assert list(broker.subscriptions) == ["news/#"]
        async with client(port_of(broker), "pub", **known) as publisher:
            await publisher.publish("news/2", b"after the restart", qos=1)
        async with client(port_of(broker), "away", clean_session=False, **known) as away:
            received = [(await first(away)).payload for _ in range(2)]
            assert received == [b"while away", b"after the restart"]


@asynccontextmanager
async def judge(verdicts: dict[str, int], asked: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """An HTTP server that says yes or no by its status; how to reach it."""

    async def answer(request: web.Request) -> web.Response:
        question = await request.json()
        asked.append(question)
        return web.Response(status=verdicts.get(question.get("topic") or question["username"], 403))

    application = web.Application()
    application.router.add_get("/user", answer)
    application.router.add_get("/acl", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    yield {"host": "127.0.0.1", "port": site._server.sockets[0].getsockname()[1]}  # type: ignore[attr-defined]
    await runner.cleanup()


async def test_another_server_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins wait for aiohttp, which wants a running task."""
    http = pytest.importorskip("amqtt.contrib.http", reason="amqtt's contrib plugins need sqlalchemy")
    asked: list[dict[str, Any]] = []
    async with judge({"ada": 200, "bob": 403, "a": 204, "b": 403}, asked) as server:
        options = {**server, "response_mode": http.ResponseMode.STATUS}
        plugins = {
            "amqtt.contrib.http.UserAuthHttpPlugin": options,
            "amqtt.contrib.http.TopicAuthHttpPlugin": options,
        }
        async with serving(config(**plugins)) as broker:
            with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
                async with client(port_of(broker), "b", username="bob", password="x"):
                    pass
            async with client(port_of(broker), "c", 5, username="ada", password="x") as ada:
                assert (await ada.subscribe("a"))[0].value == 0
                assert (await ada.subscribe("b"))[0].value == 135
                await ada.publish("b", b"denied")
                for number in range(3):
                    await ada.publish("a", b"%d" % number)
                assert [(await first(ada)).payload for _ in range(3)] == [b"0", b"1", b"2"]
    questions = [question["acc"] for question in asked if question.get("topic") == "a"]
    assert sorted(questions) == [1, 2, 4], "receiving, publishing and subscribing were each asked once"


async def test_nothing_is_left_running_after_a_shutdown() -> None:
    async with serving(config(**{ANONYMOUS: {}, EVENT_LOGGER: {}})) as broker, client(port_of(broker)):
        pass
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
