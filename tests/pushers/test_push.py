"""Messages that wait for a client that is away, told on its devices."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pybroker.broker.app import App
from pybroker.broker.client.client import Client, ClientError, Login
from pybroker.broker.client.stream import Place
from pybroker.broker.config import load
from pybroker.broker.packets.model import SubscribeFilter
from pybroker.webhook import EndpointStats
from tests.waiting import until

from .push_services import MongoosePush

Serve = Callable[..., Awaitable[App]]
QUICK = "retry { first = 5ms, max = 20ms }, cancel_timeout = 2s, drain_timeout = 0"
ANDROID = {"service": "fcm", "device_id": "phone:1/x"}
APPLE = {"service": "apns", "device_id": "abcdef", "topic": "org.example.doors", "mutable_content": True}


@pytest.fixture
async def mongoose() -> AsyncIterator[MongoosePush]:
    service = MongoosePush()
    await service.start()
    yield service
    await service.stop()
    assert not service.wrong


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    apps: list[App] = []

    async def start(push: str, more: str = "") -> App:
        path = tmp_path / "pybroker.conf"
        text = f'listeners.tcp.bind = "127.0.0.1:0"\nevent_pusher.push {{ {QUICK}\n{push} }}\n{more}\n'
        path.write_text(text)
        app = App(load(path))
        await app.start()
        apps.append(app)
        return app

    yield start
    for app in apps:
        await app.stop(0)
        assert all(stats.adds_up for stats in app.webhooks.sink.stats())


@asynccontextmanager
async def client(app: App, name: str, version: int = 5, **more) -> AsyncIterator[Client]:
    login = Login(
        name, version=version, clean_start=False, session_expiry=3600 if version == 5 else 0, **more
    )
    found = await Client.connect(Place("127.0.0.1", app.listeners.port_of("tcp")), login)
    try:
        yield found
    finally:
        await found.disconnect()


async def register(app: App, *devices: dict, name: str = "phone", topic: str = "doors/#") -> None:
    """Subscribe, register, and leave."""
    async with client(app, name) as phone:
        await phone.subscribe([SubscribeFilter(topic, 1)])
        for device in devices:
            await phone.publish("$push/enable", json.dumps(device).encode(), qos=1)


async def publish(app: App, *payloads: str, topic: str = "doors/1") -> None:
    async with client(app, "door") as door:
        for payload in payloads:
            await door.publish(topic, payload.encode(), qos=1)


def stats(app: App) -> EndpointStats:
    (found,) = app.webhooks.sink.stats()
    return found


async def settled(app: App) -> EndpointStats:
    await until(lambda: app.webhooks.sink.idle())
    return stats(app)


# ---- the way of a notification


async def test_a_client_that_is_away_is_told(serve, mongoose) -> None:
    app = await serve(
        f"""url = "{mongoose.url}", time_to_live = 1h, priority = normal
        alert {{ title = "{{publisher}} at {{topic}}", badge = "{{waiting}}" }}
        alert {{ sound = ping, click_action = OPEN }}
        data {{ topic = "{{topic}}", qos = "{{qos}}" }}, throttle = 0"""
    )
    await register(app, ANDROID, APPLE)
    await publish(app, "open ✓")
    await until(lambda: len(mongoose.taken) == 2)
    android, apple = sorted(mongoose.taken, key=lambda one: one["service"], reverse=True)
    alert = {
        "title": "door at doors/1",
        "body": "open ✓",
        "badge": 1,
        "sound": "ping",
        "click_action": "OPEN",
    }
    assert android == {
        "service": "fcm",
        "device": "phone:1/x",
        "mode": "prod",
        "priority": "normal",
        "time_to_live": 3600,
        "alert": {**alert, "tag": "doors/1"},
        "data": {"topic": "doors/1", "qos": "1"},
    }
    assert apple["alert"] == alert
    assert (apple["topic"], apple["mutable_content"]) == ("org.example.doors", True)
    found = await settled(app)
    assert (found.matched, found.succeeded) == (1, 1)


async def test_nobody_is_told_who_is_connected_or_has_no_device(serve, mongoose) -> None:
    app = await serve(f'url = "{mongoose.url}"')
    await register(app, name="other")
    await publish(app, "1")
    assert stats(app).dropped_filtered == 1
    await register(app, ANDROID)
    async with client(app, "phone"):
        await publish(app, "2")
    await settled(app)
    assert not mongoose.asked


async def test_who_comes_back_in_time_is_not_told(serve, mongoose) -> None:
    mongoose.says["phone:1/x"] = [(503, {"reason": "connection_lost"})] * 1000
    app = await serve(f'url = "{mongoose.url}"')
    await register(app, ANDROID)
    await publish(app, "1")
    await until(lambda: stats(app).retries)
    async with client(app, "phone"):
        found = await settled(app)
    assert (found.succeeded, found.dropped_filtered, mongoose.taken) == (0, 1, [])


async def test_a_flood_is_one_notification_and_the_newest_one_more(serve, mongoose) -> None:
    app = await serve(f'url = "{mongoose.url}", throttle = 1s')
    await register(app, ANDROID)
    await publish(app, *(str(number) for number in range(50)))
    await publish(app, "other", topic="doors/2")
    found = await settled(app)
    texts = [one["alert"]["body"] for one in mongoose.taken if one["alert"]["title"] == "doors/1"]
    assert texts[-1] == "49"
    assert 2 <= len(texts) <= 6  # one a second
    assert len(mongoose.taken) == len(texts) + 1
    assert (found.matched, found.succeeded) == (51, len(texts) + 1)
    assert found.dropped_filtered == 51 - found.succeeded


async def test_a_device_that_is_gone_is_forgotten(serve, mongoose) -> None:
    app = await serve(f'url = "{mongoose.url}", throttle = 0')
    await register(app, ANDROID, APPLE)
    mongoose.says["abcdef"] = [(410, {"reason": "unregistered"})]
    await publish(app, "1")
    await until(lambda: stats(app).succeeded == 1)
    mongoose.says["phone:1/x"] = [(410, {"reason": "unregistered"})]
    await publish(app, "2")
    found = await settled(app)
    assert found.dead == 1  # and nobody is left
    await publish(app, "3")
    assert mongoose.asked == ["phone:1/x", "abcdef", "phone:1/x"] or mongoose.asked[2:] == ["phone:1/x"]
    assert stats(app).dropped_filtered == 1
    assert not [*app.webhooks.push.registry]


@pytest.mark.parametrize("status", [429, 500, 503, 520])
async def test_a_failure_that_passes(serve, mongoose, status) -> None:
    """Only the device that failed is tried again."""
    app = await serve(f'url = "{mongoose.url}", throttle = 0')
    await register(app, ANDROID, APPLE)
    mongoose.says["abcdef"] = [(status, {"reason": "unspecified"})] * 3
    await publish(app, "1")
    found = await settled(app)
    assert sorted(mongoose.asked) == ["abcdef"] * 4 + ["phone:1/x"]
    assert (found.succeeded, found.retries) == (1, 3)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_failure_that_does_not_pass(serve, mongoose, status) -> None:
    app = await serve(f'url = "{mongoose.url}"')
    await register(app, ANDROID)
    mongoose.says["phone:1/x"] = [(status, {"reason": "payload_too_large"})]
    await publish(app, "1")
    found = await settled(app)
    assert (found.dead, mongoose.asked) == (1, ["phone:1/x"])


async def test_a_service_that_hangs_keeps_no_other_device_waiting(serve, mongoose) -> None:
    app = await serve(f'url = "{mongoose.url}", cancel_timeout = 400ms')
    await register(app, ANDROID)
    await register(app, APPLE, name="tablet")
    mongoose.says["phone:1/x"] = [None, None]
    await publish(app, "1")
    found = await settled(app)
    assert mongoose.asked.count("abcdef") == 1
    assert mongoose.asked.count("phone:1/x") == 3
    assert found.succeeded == 2


async def test_silent_ones_show_nothing(serve, mongoose) -> None:
    app = await serve(f'url = "{mongoose.url}"')
    await register(app, {**ANDROID, "silent": True, "priority": "normal"})
    await publish(app, "secret")
    await settled(app)
    (taken,) = mongoose.taken
    assert "alert" not in taken
    assert taken["data"] == {"topic": "doors/1"}
    assert taken["priority"] == "normal"


async def test_long_texts_are_cut(serve, mongoose) -> None:
    app = await serve(f'url = "{mongoose.url}"')
    await register(app, ANDROID)
    await publish(app, "ä" * 5000)
    await settled(app)
    body = mongoose.taken[0]["alert"]["body"]
    assert body.endswith("ä…")
    assert len(body.encode()) <= 2048


async def test_many_clients_are_told_and_requests_are_bounded(serve, mongoose) -> None:
    app = await serve(f'url = "{mongoose.url}"')
    for number in range(100):
        await register(app, {"service": "fcm", "device_id": f"d{number}"}, name=f"p{number}")
    await publish(app, "all")
    found = await settled(app)
    assert found.succeeded == 100
    assert {one["device"] for one in mongoose.taken} == {f"d{number}" for number in range(100)}
    assert mongoose.most_at_once <= 32


# ---- registering


async def test_what_is_no_registration_is_refused(serve, mongoose, caplog) -> None:
    app = await serve(f'url = "{mongoose.url}"', "push_registrations.max_per_client = 1")
    async with client(app, "phone") as phone:
        with pytest.raises(ClientError, match="payload format invalid"):
            await phone.publish("$push/enable", b"secret-device", qos=1)
        with pytest.raises(ClientError, match="payload format invalid"):
            await phone.publish("$push/enable", b'{"service": "sms", "device_id": "secret-device"}', qos=2)
        await phone.publish("$push/enable", b"{}", qos=0)
        await phone.publish("$push/enable", json.dumps(ANDROID).encode(), qos=2)
        with pytest.raises(ClientError, match="quota exceeded"):
            await phone.publish("$push/enable", json.dumps(APPLE).encode(), qos=1)
        await phone.publish("$push/disable", b'{"device_id": "phone:1/x"}', qos=1)
        await phone.publish("$push/enable", json.dumps(APPLE).encode(), qos=1)
        with pytest.raises(ClientError, match="payload format invalid"):
            await phone.publish("$push/disable", b"[]", qos=1)
    async with client(app, "old", version=4) as old:
        await old.publish("$push/enable", b"no", qos=1)  # 3.1.1 cannot say it
    (one,) = app.webhooks.push.registry.of("phone")
    assert one.device_id == "abcdef"
    assert "client phone published to $push/enable: it is not JSON" in caplog.text
    assert '"service" is one of apns, fcm' in caplog.text
    assert "client old published to $push/enable" in caplog.text
    assert "secret-device" not in caplog.text
    assert "phone:1/x" not in caplog.text
    assert "kept in memory and end with the broker" in caplog.text


async def test_nobody_receives_what_is_said_to_the_broker(serve, mongoose) -> None:
    """Device identifiers are secrets."""
    app = await serve(f'url = "{mongoose.url}"')
    async with client(app, "spy") as spy:
        await spy.subscribe([SubscribeFilter("$push/#", 1), SubscribeFilter("end", 1)])
        await register(app, ANDROID, {**ANDROID, "device_id": "other"})
        await publish(app, "x", topic="end")
        async for message in spy.messages():
            assert message.topic == "end"
            break
    assert len(app.webhooks.push.registry) == 2


async def test_access_rules_hold_for_it(serve, mongoose) -> None:
    rules = """auth { acl { enable = true, rules = [
        { permit = deny, action = publish, topics = ["$push/enable"], username = "guest" },
        { permit = allow } ] } }
        auth.password { guest = x, ann = x }, auth.allow_anonymous = false"""
    app = await serve(f'url = "{mongoose.url}"', rules)
    async with client(app, "a", username="guest", password=b"x") as guest:
        with pytest.raises(ClientError, match="not authorized"):
            await guest.publish("$push/enable", json.dumps(ANDROID).encode(), qos=1)
    async with client(app, "b", username="ann", password=b"x") as ann:
        await ann.publish("$push/enable", json.dumps(ANDROID).encode(), qos=1)
    assert [one.client for one in app.webhooks.push.registry] == ["b"]


@pytest.mark.parametrize("where", ["push_registrations", "sqlite", "spool"])
async def test_a_restart_keeps_registrations_and_what_waits(serve, mongoose, tmp_path, where) -> None:
    more = {
        "push_registrations": (f'spool.path = "{tmp_path}/s"', f'push_registrations.path = "{tmp_path}/r"'),
        "sqlite": (f'spool.path = "{tmp_path}/s"', f'sqlite.mounted_file_path = "{tmp_path}/r"'),
        "spool": (f'spool.path = "{tmp_path}/r"', ""),
    }[where]
    push = f'url = "{mongoose.url}", {more[0]}'
    mongoose.says["phone:1/x"] = [(503, {})] * 10_000
    first = await serve(push, more[1])
    await register(first, ANDROID)
    await publish(first, "1")
    await until(lambda: stats(first).retries)
    await first.stop(0)
    assert (tmp_path / "r" / "push-registrations.sqlite").exists()
    mongoose.says.clear()
    second = await serve(push, more[1])
    found = await settled(second)
    assert found.succeeded == 1
    assert mongoose.taken[0]["alert"] == {"title": "doors/1", "body": "1", "tag": "doors/1"}


async def test_a_reload_begins_and_ends_it(serve, mongoose, tmp_path) -> None:
    app = await serve("enable = false")
    async with client(app, "phone") as phone:
        await phone.publish("$push/enable", json.dumps(ANDROID).encode(), qos=1)
    assert len(app.webhooks.push.registry) == 0
    path = tmp_path / "pybroker.conf"
    off = path.read_text()
    path.write_text(off.replace("enable = false", f'url = "{mongoose.url}"'))
    await app.reload(load(path))
    await register(app, ANDROID)
    await publish(app, "1")
    await until(lambda: mongoose.taken)
    path.write_text(off)
    await app.reload(load(path))
    assert not app.engine.commands
