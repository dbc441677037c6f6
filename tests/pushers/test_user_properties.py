"""MQTT 5.0 user properties as headers, of each server that has such."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pybroker.broker import events
from pybroker.broker.config import ConfigError, load
from pybroker.webhook.body.headers import HeaderTemplates
from pybroker.webhook.body.template import TemplateError, compile_template

from .servers import Nats, Rabbit, Redis, Server
from .support import drained, prepare, published, pusher

PROPERTIES = (("unit", "°C"), ("Nats-Rollup", "all"), ("a b/ü", "1\r\n2"), ("unit", "K"), ("x" * 300, ""))


def event() -> events.MessagePublished:
    return dataclasses.replace(published(1), user_properties=PROPERTIES)


def test_names_that_every_server_takes() -> None:
    found = HeaderTemplates([("Fixed", "{user_property.unit}")], "mqtt-")(event())
    assert found == (
        ("fixed", "°C"),
        ("mqtt-unit", "°C"),
        ("mqtt-Nats-Rollup", "all"),
        ("mqtt-a%20b%2F%C3%BC", "1\r\n2"),
        ("mqtt-unit", "K"),
        ("mqtt-" + "x" * 100, ""),
    )
    assert HeaderTemplates([])(event()) == ()
    assert HeaderTemplates([], "mqtt-")(events.ClientConnected(at=1.0, client=events.Client("c"))) == ()


def test_a_user_property_in_a_template() -> None:
    render = compile_template("{user_property.unit}/{user_property.missing}|{publisher}")
    assert render(event()) == "°C/|dev-17"
    with pytest.raises(TemplateError, match=r"\{user_property.NAME\}"):
        compile_template("{user_property.}")


async def test_the_server_has_them(server, start, tmp_path) -> None:
    await prepare(server)
    sink = await start(pusher(tmp_path, server, 'user_properties = "mqtt-"'))
    sink.offer(event())
    assert (await drained(sink)).succeeded == 1
    found = await headers_in(server)
    assert found["mqtt-unit"] == "K"
    assert found["mqtt-Nats-Rollup"] == "all"
    assert "mqtt-a%20b%2F%C3%BC" in found


async def headers_in(server: Server) -> dict[str, str]:
    """Of the one message that has arrived; of several with one name the last."""
    if isinstance(server, Redis):
        import redis.asyncio

        async with redis.asyncio.Redis.from_url(server.url) as client:
            ((_, fields),) = await client.xrange("pybroker:events")
        return {name.decode(): value.decode() for name, value in fields.items()}
    if isinstance(server, Nats):
        import nats

        client = await nats.connect(server.url)
        message = await client.jetstream().get_last_msg("mqtt", "mqtt.>")
        await client.close()
        return dict(message.headers or {})
    assert isinstance(server, Rabbit)
    import aiormq

    async with aiormq.connect(server.url) as connection:
        message = await (await connection.channel()).basic_get("all", no_ack=True)
        return dict(message.header.properties.headers)


@pytest.mark.parametrize("prefix", ["a:b", "a b", "x" * 41])
def test_a_prefix_that_cannot_be_one(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "c.conf"
    path.write_text(f'event_pusher.nats.user_properties = "{prefix}"')
    with pytest.raises(ConfigError, match="letters, digits and"):
        load(path)


def test_backends_without_headers_warn(tmp_path: Path) -> None:
    path = tmp_path / "c.conf"
    path.write_text('event_pusher.http { url = "http://h/", user_properties = "a-", topic = b }')
    warned = "\n".join(map(str, load(path).warnings))
    assert "event_pusher.http.user_properties: has no effect" in warned
    assert "event_pusher.http.topic: has no effect" in warned


async def test_headers_count_as_memory(redis, start, tmp_path) -> None:
    redis.kill()
    more = f'user_properties = "m-", spool.path = "{tmp_path}/s"'
    sink = await start(pusher(tmp_path, redis, more))
    large = dataclasses.replace(event(), user_properties=(("a", "x" * 100_000),))
    for _ in range(10):
        sink.offer(large)
    assert sink.stats()[0].spooled_bytes > 1_000_000
    await sink.stop(0)
    again = await start(pusher(tmp_path, redis, more))
    assert again.stats()[0].spooled_bytes > 1_000_000
    redis.start()
    stats = await drained(again)
    assert (stats.succeeded, stats.spooled_bytes) == (10, 0)


@pytest.mark.parametrize("kind", ["nats", "rabbit"])
async def test_headers_that_are_too_large_keep_no_others_waiting(request, start, tmp_path, kind) -> None:
    server = request.getfixturevalue(kind)
    await prepare(server)
    sink = await start(pusher(tmp_path, server, 'user_properties = "m-"'))
    for number in range(20):
        sink.offer(published(number))
        if number == 10:
            sink.offer(dataclasses.replace(event(), user_properties=(("a", "x" * 2_000_000),)))
    stats = await drained(sink)
    assert (stats.succeeded, stats.dead, stats.retries) == (20, 1, 0)
