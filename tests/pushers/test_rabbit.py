"""What RabbitMQ alone has: exchanges, routing keys, messages that nobody takes."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess

import aiormq
import pytest

from pybroker.broker import events
from pybroker.webhook import SettingsError, Sink
from tests.waiting import until

from .support import CLIENT, bodies, drained, payloads, prepare, published, pusher, pushers

QUICK = "retry { first = 20ms, max = 200ms }, cancel_timeout = 2s, drain_timeout = 0"


@pytest.fixture
async def channel(rabbit):
    connection = await aiormq.connect(rabbit.url)
    yield await connection.channel()
    await connection.close()


async def bound(channel, exchange: str, key: str = "#", queue: str = "q", **more) -> None:
    await channel.exchange_declare(exchange, exchange_type="topic", **more)
    await channel.queue_declare(queue, durable=True)
    await channel.queue_bind(queue, exchange, key)


async def got(channel, queue: str = "q"):
    message = await channel.basic_get(queue, no_ack=True)
    return None if message.delivery_tag is None else message


async def test_what_a_consumer_reads(rabbit, channel, start, tmp_path) -> None:
    await bound(channel, "events", "sensors.1", durable=True)
    more = 'headers { x-client = "{clientid}/{username}", x-qos = "{qos}" }'
    sink = await start(pusher(tmp_path, rabbit, more))
    sink.offer(published(1, "sensors/1"))
    await drained(sink)
    message = await got(channel)
    properties = message.header.properties
    assert json.loads(message.body)["topic"] == "sensors/1"
    assert message.delivery.routing_key == "sensors.1"
    assert properties.content_type == "application/json"
    assert properties.delivery_mode == 2
    assert properties.message_id.startswith("msg_")
    assert properties.headers == {"x-client": "dev-17/ann", "x-qos": "1"}
    assert properties.timestamp is not None


async def test_a_message_that_no_queue_takes_is_a_dead_letter(rabbit, channel, start, tmp_path) -> None:
    await bound(channel, "events", "taken", durable=True)
    sink = await start(pusher(tmp_path, rabbit, f'spool.path = "{tmp_path}/spool"'))
    for number in range(50):
        sink.offer(published(number, "taken" if number % 2 else "not/taken"))
    stats = await drained(sink)
    assert (stats.succeeded, stats.dead, stats.retries) == (25, 25, 0)
    await until(lambda: sink.stats()[0].dead_letters == 25)
    assert sink.stats()[0].state == "ready"


async def test_exchanges_are_declared_anew_on_another_server(rabbit, channel, start, tmp_path) -> None:
    sink = await start(pusher(tmp_path, rabbit, "mandatory = false"))
    sink.offer(published(1))
    await drained(sink)
    await channel.connection.close()
    rabbit.kill()
    shutil.rmtree(rabbit.directory / "mnesia")
    await asyncio.to_thread(rabbit.start)
    sink.offer(published(2))
    assert (await drained(sink)).succeeded == 2
    connection = await aiormq.connect(rabbit.url)
    await (await connection.channel()).exchange_declare("events", passive=True)
    await connection.close()


async def test_an_exchange_of_another_type_keeps_the_events_waiting(
    rabbit, channel, start, tmp_path, caplog
) -> None:
    await channel.exchange_declare("events", exchange_type="fanout", durable=True)
    sink = await start(pusher(tmp_path, rabbit, "mandatory = false"))
    sink.offer(published(1))
    await until(lambda: sink.stats()[0].tries > 2)
    assert "inequivalent arg 'type'" in caplog.text
    assert sink.stats()[0].dead == 0
    await channel.exchange_delete("events")
    await bound(channel, "events", durable=True)
    assert (await drained(sink)).succeeded == 1


async def test_an_exchange_that_goes_away_breaks_only_what_is_not_confirmed(
    rabbit, channel, start, tmp_path
) -> None:
    """The server closes the channel; the next one declares the exchange again."""
    await bound(channel, "events", durable=True)
    sink = await start(pusher(tmp_path, rabbit, "mandatory = false"))
    sink.offer(published(1))
    await drained(sink)
    await channel.exchange_delete("events")
    sink.offer(published(2))
    assert (await drained(sink)).succeeded == 2


async def test_mongooseims_exchanges(rabbit, channel, start, tmp_path) -> None:
    for name in ("presence", "chat", "group"):
        await bound(channel, name, "#", name)
    (one,) = pushers(
        tmp_path,
        f"""rabbit {{
          url = "{rabbit.url}", {QUICK}, body.format = mongooseim
          presence_exchange {{ name = presence }}
          chat_msg_exchange {{ name = chat }}
          groupchat_msg_exchange {{ name = group, topic = "rooms/#", recv_topic = in }}
          events = [ {{ event = on_client_connected }}, {{ event = on_message_publish }},
                     {{ event = on_message_delivered }} ]
        }}""",
    )
    sink = await start(one)
    at = published(0).at
    hub = events.Client("hub")
    sink.offer(events.ClientConnected(at=at, client=CLIENT))
    sink.offer(published(1, "door"))
    common = {"at": at, "payload": b"21.5", "qos": 0, "retain": False, "publisher": CLIENT}
    sink.offer(events.MessageDelivered(topic="rooms/1", client=hub, **common))
    assert (await drained(sink)).succeeded == 3
    found = {queue: await got(channel, queue) for queue in ("presence", "chat", "group")}
    read = {
        queue: (message.delivery.routing_key, json.loads(message.body)) for queue, message in found.items()
    }
    assert read == {
        "presence": ("dev-17", {"user_id": "dev-17", "present": True}),
        "chat": (
            "dev-17.chat_msg_sent",
            {"from_user_id": "dev-17", "to_user_id": "door", "message": "1"},
        ),
        "group": ("hub.in", {"from_user_id": "dev-17", "to_user_id": "hub", "message": "21.5"}),
    }


async def test_a_quorum_queue(rabbit, start, tmp_path) -> None:
    await prepare(rabbit, "quorum")
    sink = await start(pusher(tmp_path, rabbit, "order = client"))
    for number in range(500):
        sink.offer(published(number))
    assert (await drained(sink)).succeeded == 500
    assert payloads(await bodies(rabbit, 500)) == list(range(500))


@pytest.mark.slow
async def test_a_quorum_queue_of_a_server_that_is_killed_in_mid_burst(rabbit, start, tmp_path) -> None:
    """It was there when the server started: RabbitMQ writes down late that a quorum queue exists, and finds
    no leader for one that was declared just before the kill."""
    await prepare(rabbit, "quorum")
    await asyncio.to_thread(rabbit.end)
    await asyncio.to_thread(rabbit.start)
    sink = await start(pusher(tmp_path, rabbit, f'spool.path = "{tmp_path}/spool"'))
    for number in range(1000):
        sink.offer(published(number))
    await until(lambda: sink.stats()[0].succeeded)
    rabbit.kill()
    for number in range(1000, 2000):
        sink.offer(published(number))
    await until(lambda: sink.stats()[0].last_failure)
    assert sink.stats()[0].adds_up
    await asyncio.to_thread(rabbit.start)
    stats = await drained(sink)
    assert (stats.succeeded, stats.dead, stats.dropped) == (2000, 0, 0)
    assert set(payloads(await bodies(rabbit, 2000))) == set(range(2000))


async def test_a_queue_that_is_full_refuses_and_takes_later(rabbit, channel, start, tmp_path) -> None:
    await channel.exchange_declare("events", exchange_type="topic", durable=True)
    full = {"x-max-length": 10, "x-overflow": "reject-publish"}
    await channel.queue_declare("q", durable=True, arguments=full)
    await channel.queue_bind("q", "events", "#")
    sink = await start(pusher(tmp_path, rabbit))
    for number in range(50):
        sink.offer(published(number))
    await until(lambda: sink.stats()[0].retries)
    found: set[int] = set()
    while len(found) < 50:
        if message := await got(channel):
            found.add(int(json.loads(message.body)["payload"]))
    assert (await drained(sink)).succeeded == 50


async def test_credentials_that_are_revoked(rabbit, channel, start, tmp_path) -> None:
    def control(*words: str) -> None:
        subprocess.run(
            ["/usr/lib/rabbitmq/bin/rabbitmqctl", *words],
            env=rabbit.environment(),
            check=True,
            capture_output=True,
            timeout=60,
        )

    await bound(channel, "events", durable=True)
    sink = await start(pusher(tmp_path, rabbit))
    sink.offer(published(1))
    await drained(sink)
    await asyncio.to_thread(control, "change_password", "guest", "another")
    await asyncio.to_thread(control, "close_all_user_connections", "guest", "test")
    sink.offer(published(2))
    await until(lambda: "ACCESS_REFUSED" in sink.stats()[0].last_failure)
    assert sink.stats()[0].dead == 0
    await asyncio.to_thread(control, "change_password", "guest", "guest")
    assert (await drained(sink)).succeeded == 2


async def test_the_second_node_takes_over(rabbit, channel, start, tmp_path) -> None:
    await bound(channel, "events", durable=True)
    away = "amqp://guest:guest@127.0.0.1:9"
    (one,) = pushers(
        tmp_path,
        f'rabbit {{ url = ["{away}", "{rabbit.url}"], {QUICK}, exchange.name = events, '
        "events = [ { event = on_message_publish } ] }",
    )
    sink = await start(one)
    sink.offer(published(1))
    stats = await drained(sink)
    assert (stats.succeeded, stats.retries) == (1, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('url = "http://h/"', "url must be of the form amqp://"),
        ("groupchat_msg_exchange.name = g", "groupchat_msg_exchange.topic is missing"),
        ('url = "amqps://h/", tls.cacertfile = "conftest.py"', "cacertfile"),
    ],
)
def test_settings_that_cannot_work(tmp_path, text, said) -> None:
    (tmp_path / "conftest.py").write_text("no certificate")
    found = pushers(tmp_path, f"rabbit {{ events = [{{ event = on_message_publish }}]\n{text} }}")
    with pytest.raises(Exception, match=said) as raised:
        Sink(found)
    assert type(raised.value).__name__ in (SettingsError.__name__, "TlsError")


def test_a_long_topic_is_cut_to_what_amqp_can_carry(tmp_path) -> None:
    from pybroker.webhook.backends.exchanges import KEY_BYTES, exchanges

    (one,) = pushers(tmp_path, "rabbit { events = [{ event = on_message_publish }] }")
    _, route = exchanges(one)
    exchange, key = route(published(1, "é" * 1000))
    assert (exchange, key) == ("", "é" * 127)
    assert len(key.encode()) <= KEY_BYTES


async def test_a_virtual_host_that_does_not_exist_is_named(rabbit, start, tmp_path) -> None:
    url = f"{rabbit.url.rstrip('/')}/orders"
    text = f'rabbit {{ url = "{url}", {QUICK}, events = [{{ event = on_message_publish }}] }}'
    sink = await start(*pushers(tmp_path, text))
    sink.offer(published(1))
    await until(lambda: 'the virtual host "orders" is refused' in sink.stats()[0].last_failure)
