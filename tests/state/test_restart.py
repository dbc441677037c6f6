"""What is there after a restart, with time turned by hand and without sockets."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pybroker.broker.config.settings import SqliteSettings
from pybroker.broker.engine.bans import Ban
from pybroker.broker.events import MessageDropped
from pybroker.broker.packets.model import Puback, Publish, Pubrec, Pubrel, Will
from pybroker.broker.packets.properties import Properties
from pybroker.broker.state.database import MIGRATIONS
from pybroker.broker.state.errors import StateError
from tests.harness import FOR_EVER, Broker, Client

from .kept import Kept


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path / "state")
    yield kept
    await kept.stop()


def subscriber(broker: Broker, client_id: str = "s", **options: Any) -> Client:
    return broker.connect(client_id, clean_start=False, session_expiry_interval=FOR_EVER, **options)


async def test_a_session_its_subscriptions_and_what_waits(kept: Kept) -> None:
    broker = await kept.start()
    client = subscriber(broker)
    client.subscribe("a/#", 1, retain_as_published=True, identifier=7)
    client.disconnect()
    publisher = broker.connect("p")
    publisher.publish(
        "a/b",
        b"one",
        qos=2,
        retain=True,
        content_type="text",
        user_properties=(("k", "v"), ("k", "w")),
        correlation_data=b"\0",
        topic_alias=3,
    )
    publisher.publish("", b"two", qos=1, topic_alias=3)
    broker = await kept.restart()
    client = subscriber(broker)
    assert client.connack is not None
    assert client.connack.session_present
    one, two = client.messages()
    assert (one.topic, one.payload, one.qos, one.retain) == ("a/b", b"one", 1, True)
    assert one.properties == Properties(
        content_type="text",
        user_properties=(("k", "v"), ("k", "w")),
        correlation_data=b"\0",
        subscription_identifiers=(7,),
    )
    assert (two.topic, two.payload) == ("a/b", b"two")
    assert broker.retained() == {"a/b": b"one"}
    broker.connect("p2").publish("a/c", b"three", qos=1)
    assert client.message().payload == b"three"


async def test_a_killed_broker_goes_on_from_the_journal(kept: Kept, tmp_path: Path) -> None:
    broker = await kept.start()
    client = subscriber(broker)
    client.subscribe("a", qos=2)
    broker.connect("p").publish("a", b"one", qos=2)
    sent = client.message(acknowledge=False)
    client.send(Pubrec(sent.packet_id))
    client.next(Pubrel)
    broker.connect("p3").publish("a", b"two", qos=1)
    waits = client.message(acknowledge=False)
    broker = await kept.crash(tmp_path / "copy")
    client = subscriber(broker)
    released, again = client.packets()
    assert released == Pubrel(sent.packet_id)
    assert isinstance(again, Publish)
    assert (again.payload, again.packet_id, again.dup) == (b"two", waits.packet_id, True)
    client.send(Puback(again.packet_id))
    broker = await kept.restart()
    assert [type(p) for p in subscriber(broker).packets()] == [Pubrel]


async def test_what_is_answered_by_nothing_is_written_down_as_well(kept: Kept, tmp_path: Path) -> None:
    broker = await kept.start()
    client = subscriber(broker)
    client.subscribe("a", qos=1)
    publisher = broker.connect("p")
    publisher.publish("a", b"x", qos=1)
    sent = client.message(acknowledge=False)
    client.send(Puback(sent.packet_id))
    publisher.send_publish("b", b"kept", retain=True)
    broker = await kept.crash(tmp_path / "copy")
    assert broker.retained() == {"b": b"kept"}
    assert subscriber(broker).packets() == []


async def test_a_received_qos_2_message_is_not_handed_out_again(kept: Kept, tmp_path: Path) -> None:
    broker = await kept.start()
    reader = subscriber(broker)
    reader.subscribe("a", qos=2)
    reader.disconnect()
    publisher = subscriber(broker, "p")
    publisher.send_publish("a", b"x", qos=2, packet_id=9)
    broker = await kept.crash(tmp_path / "copy")
    publisher = subscriber(broker, "p")
    publisher.send_publish("a", b"x", qos=2, packet_id=9, dup=True)
    assert len(subscriber(broker).messages()) == 1


async def test_time_passes_while_the_broker_is_stopped(kept: Kept) -> None:
    broker = await kept.start()
    client = broker.connect("s", clean_start=False, session_expiry_interval=5400)
    client.subscribe("a", qos=1)
    client.disconnect()
    publisher = broker.connect("p")
    publisher.publish("a", b"x", qos=1, retain=True, message_expiry_interval=600)
    publisher.publish("a", b"y", qos=1)
    broker = await kept.restart(3600)
    assert broker.retained() == {}
    assert [
        m.payload for m in broker.connect("s", clean_start=False, session_expiry_interval=FOR_EVER).messages()
    ] == [b"y"]


async def test_a_session_that_ended_while_the_broker_was_down_is_gone(kept: Kept) -> None:
    broker = await kept.start()
    client = broker.connect("s", clean_start=False, session_expiry_interval=60)
    client.disconnect()
    broker = await kept.restart(61)
    assert "s" not in broker.engine.sessions
    broker = await kept.restart()
    assert "s" not in broker.engine.sessions


@pytest.mark.parametrize("down", [10, 100])
async def test_a_will_that_waits_for_its_delay(kept: Kept, down: int) -> None:
    broker = await kept.start()
    watcher = subscriber(broker, "watcher")
    watcher.subscribe("w", qos=1)
    will = Will("w", b"gone", 1, properties=Properties(will_delay_interval=60))
    client = subscriber(broker, "c", will=will)
    client.channel.lost()
    broker = await kept.restart(down)
    watcher = subscriber(broker, "watcher")
    if down < 60:
        assert watcher.messages() == []
        broker.clock.advance(60 - down)
    assert [m.payload for m in watcher.messages()] == [b"gone"]
    broker = await kept.restart(1000)
    assert [m.payload for m in subscriber(broker, "watcher").messages() if not m.dup] == []


async def test_a_client_that_is_back_in_time_leaves_no_will(kept: Kept) -> None:
    broker = await kept.start()
    subscriber(broker, "watcher").subscribe("w", qos=1)
    will = Will("w", b"gone", 1, properties=Properties(will_delay_interval=60))
    subscriber(broker, "c", will=will).channel.lost()
    broker = await kept.restart(10)
    subscriber(broker, "c")
    broker.clock.advance(1000)
    broker = await kept.restart(10)
    assert subscriber(broker, "watcher").messages() == []


async def test_the_will_of_a_client_that_the_crash_cut_off(kept: Kept, tmp_path: Path) -> None:
    broker = await kept.start()
    watcher = subscriber(broker, "watcher")
    watcher.subscribe("w", qos=1)
    watcher.disconnect()
    subscriber(broker, "c", will=Will("w", b"gone", 1))
    broker = await kept.crash(tmp_path / "copy")
    assert [m.payload for m in subscriber(broker, "watcher").messages()] == [b"gone"]


async def test_messages_of_a_shared_subscription_find_their_group_again(kept: Kept) -> None:
    broker = await kept.start()
    one, two = subscriber(broker, "one"), subscriber(broker, "two")
    for client in (one, two):
        client.subscribe("$share/g/a", qos=1)
        client.disconnect()
    publisher = broker.connect("p")
    for number in range(4):
        publisher.publish("a", b"%d" % number, qos=1)
    broker = await kept.restart()
    broker.connect("one", clean_start=True)
    assert len(subscriber(broker, "two").messages()) == 4


async def test_what_is_over_leaves_nothing_on_disk(kept: Kept) -> None:
    broker = await kept.start()
    client = subscriber(broker)
    client.subscribe("a", qos=2)
    client.disconnect()
    publisher = subscriber(broker, "p")
    for number in range(10):
        publisher.publish("a", b"%d" % number, qos=2)
    broker = await kept.restart()
    broker.connect("s", clean_start=True)
    broker.connect("p", clean_start=True)
    await kept.stop()
    db = sqlite3.connect(kept.settings.path / "pybroker.db")
    for table in ("session", "subscription", "message", "entry", "packet", "retained"):
        assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    db.close()


async def test_a_limit_that_is_lower_now(kept: Kept) -> None:
    broker = await kept.start()
    client = subscriber(broker)
    client.subscribe("a", qos=1)
    client.disconnect()
    for number in range(10):
        broker.connect("p").publish("a", b"%d" % number, qos=1)
    broker = await kept.restart(max_mqueue_len=4)
    assert broker.dropped("queue_full") == 6
    assert len(subscriber(broker).messages()) == 4


async def test_another_broker_on_the_same_directory(kept: Kept) -> None:
    await kept.start()
    other = Kept(kept.settings.path)
    with pytest.raises(StateError, match="another process uses it; each broker needs a directory of its own"):
        await other.start()


async def test_a_file_that_is_no_database(kept: Kept) -> None:
    kept.settings.path.mkdir()
    (kept.settings.path / "pybroker.db").write_bytes(b"nothing of ours" * 1000)
    with pytest.raises(StateError, match="file is not a database; move the files away to begin anew"):
        await kept.start()


async def test_a_truncated_database(kept: Kept) -> None:
    broker = await kept.start()
    for number in range(300):
        broker.connect("p").publish(f"a/{number}", b"x" * 100, qos=1, retain=True)
    await kept.stop()
    database = kept.settings.path / "pybroker.db"
    database.write_bytes(database.read_bytes()[:-9000])
    with pytest.raises(StateError, match="malformed; move the files away to begin anew"):
        await kept.start()


async def test_a_file_of_a_newer_version(kept: Kept) -> None:
    await kept.start()
    await kept.stop()
    db = sqlite3.connect(kept.settings.path / "pybroker.db")
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StateError, match=f"format {len(MIGRATIONS) + 1} is that of a newer pybroker"):
        await kept.start()


async def test_a_damaged_record_of_the_journal_costs_that_record(
    kept: Kept, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = await kept.start()
    publisher = broker.connect("p")
    for number in range(3):
        publisher.publish(f"a/{number}", b"payload%d" % number, qos=1, retain=True)
    journal = kept.settings.path / "pybroker.journal"
    data = bytearray(journal.read_bytes())
    data[data.index(b"payload1")] ^= 1
    copy = tmp_path / "copy"
    shutil.copytree(kept.settings.path, copy)
    (copy / "pybroker.journal").write_bytes(data)
    await kept.stop()
    kept.settings = SqliteSettings(copy)
    broker = await kept.start()
    assert sorted(broker.retained()) == ["a/0", "a/2"]
    assert "1 places of the journal are damaged" in caplog.text


async def test_always_writes_nothing_before_the_disk_has_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state", sync="always")
    broker = await kept.start()
    client = broker.dial()
    client.send_connect("s", clean_start=False, session_expiry_interval=FOR_EVER)
    assert client.packets() == []
    assert kept.state is not None
    await kept.state.settle()
    assert len(client.packets()) == 1
    await kept.stop()


@pytest.mark.parametrize("version", [4, 5])
async def test_a_full_disk_refuses_what_would_have_to_be_kept(
    kept: Kept, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    broker = await kept.start()
    assert kept.state is not None
    storage = kept.state._storage
    assert storage is not None
    reader = subscriber(broker)
    reader.subscribe("kept", qos=1)
    plain = broker.connect("plain")
    plain.subscribe("#", qos=1)
    pages = storage._database.db.execute("PRAGMA page_count").fetchone()[0]
    storage._database.db.execute(f"PRAGMA max_page_count = {pages}")
    publisher = broker.connect("p", version)
    reader.disconnect()
    publisher.publish("kept", b"x" * 10_000, qos=1)
    assert not await storage._commit()
    assert storage.full
    publisher.send_publish("kept", b"y", qos=1, packet_id=77)
    answer = publisher.packets()
    assert [p.reason for p in answer] == ([0x97] if version == 5 else [])
    assert broker.engine.counters.limited["storage_full"] == 1
    assert len(plain.messages()) == 1
    publisher.publish("other", b"z", qos=1)
    assert [m.payload for m in plain.messages()] == [b"z"]
    storage._database.db.execute("PRAGMA max_page_count = 1000000")
    assert await storage._commit()
    assert not storage.full
    publisher.publish("kept", b"again", qos=1)
    assert [len(m.payload) for m in reader.again(session_expiry_interval=FOR_EVER).messages()] == [10_000, 5]
    assert caplog.text.count("the state on disk is full") == 1


async def until_sent(client: Client, count: int) -> list[bytes]:
    """The payloads, acknowledged as they come."""
    found: list[bytes] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += [message.payload for message in client.messages()]
            await asyncio.sleep(0)
    return found


async def test_memory_holds_a_window_of_what_waits(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state", disk_cache_size=3)
    broker = await kept.start(max_inflight_window=2)
    client = subscriber(broker)
    client.subscribe("a", qos=1)
    client.disconnect()
    publisher = broker.connect("p")
    expected = [b"%d" % number for number in range(40)]
    for payload in expected[:20]:
        publisher.publish("a", payload, qos=1)
    queue = broker.engine.sessions.get("s").queue  # type: ignore[union-attr]
    assert queue is not None
    assert (len(queue), len(queue.messages())) == (20, 3)
    broker = await kept.restart(max_inflight_window=2)
    queue = broker.engine.sessions.get("s").queue  # type: ignore[union-attr]
    assert queue is not None
    assert (len(queue), len(queue.messages())) == (20, 3)
    client = subscriber(broker)
    publisher = broker.connect("p")
    for payload in expected[20:30]:
        publisher.publish("a", payload, qos=1)
    found = await until_sent(client, 10)
    for payload in expected[30:]:
        publisher.publish("a", payload, qos=1)
    found += await until_sent(client, 40 - len(found))
    assert found == expected
    session = broker.engine.sessions.get("s")
    assert session is not None
    assert not session.behind
    assert session.queue is None
    publisher.publish("a", b"now", qos=1)
    assert client.message().payload == b"now"
    assert broker.engine.counters.dropped.total() == 0
    await kept.stop()


async def test_a_session_that_ends_has_its_messages_on_disk_counted(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state", disk_cache_size=3)
    broker = await kept.start()
    client = subscriber(broker)
    client.subscribe("a", qos=1)
    client.disconnect()
    for _ in range(10):
        broker.connect("p").publish("a", b"x", qos=1)
    broker.connect("s", clean_start=True)
    assert broker.dropped("session_terminated") == 10
    await kept.stop()


async def test_a_client_that_keeps_its_session_no_longer_gets_what_waited(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state", disk_cache_size=3)
    broker = await kept.start()
    client = subscriber(broker)
    client.subscribe("a", qos=1)
    client.disconnect()
    for number in range(10):
        broker.connect("p").publish("a", b"%d" % number, qos=1)
    client = broker.connect("s", clean_start=False)
    assert await until_sent(client, 10) == [b"%d" % number for number in range(10)]
    client.disconnect()
    broker = await kept.restart()
    assert "s" not in broker.engine.sessions
    await kept.stop()


@pytest.mark.parametrize("crashes", [False, True])
async def test_retained_messages_that_a_new_subscription_did_not_get_yet(
    kept: Kept, tmp_path: Path, crashes: bool
) -> None:
    broker = await kept.start(max_inflight_window=2)
    for number in range(5):
        broker.connect("p").publish(f"r/{number}", b"%d" % number, qos=1, retain=True)
    client = subscriber(broker)
    client.subscribe("r/#", 1)
    assert [m.payload for m in client.packets() if isinstance(m, Publish)] == [b"0", b"1"]
    broker = await (kept.crash(tmp_path / "copy") if crashes else kept.restart(max_inflight_window=2))
    client = subscriber(broker)
    found = client.messages()
    assert {m.payload for m in found} == {b"0", b"1", b"2", b"3", b"4"}
    assert all(m.retain for m in found)
    assert len(found) == 7, "the two that were in flight, and all"
    broker = await kept.restart()
    assert subscriber(broker).messages() == []


async def test_bans(kept: Kept, tmp_path: Path) -> None:
    broker = await kept.start()
    bans = [
        Ban("clientid", "c", "noise", "admin", 5.0),
        Ban("peerhost", "::1", until=broker.clock.time() + 60),
    ]
    for ban in (*bans, Ban("username", "u")):
        assert broker.engine.bans.put(ban)
    assert broker.engine.bans.lift("username", "u")
    broker.engine.flush()
    broker = await kept.crash(tmp_path / "copy")
    assert broker.engine.bans.all(broker.clock.time()) == bans
    assert broker.engine.bans.lift("clientid", "c")
    broker = await kept.restart()
    assert broker.engine.bans.all(broker.clock.time()) == bans[1:]
    broker = await kept.restart(seconds=100)
    assert broker.engine.bans.all(broker.clock.time()) == []
    broker = await kept.restart()
    assert not broker.engine.bans


async def settled(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("restarts", [False, True])
async def test_each_message_on_disk_of_a_session_that_ends_is_told(kept: Kept, restarts: bool) -> None:
    kept.settings = replace(kept.settings, disk_cache_size=3)
    broker = await kept.start()
    subscriber(broker).subscribe("a", qos=1)
    broker.connect("s", clean_start=False, session_expiry_interval=5).disconnect()
    for number in range(500):
        broker.connect("p").publish("a", b"%d" % number, qos=1)
    if restarts:
        broker = await kept.restart()
    dropped: list[MessageDropped] = []
    broker.engine.hooks.observe(MessageDropped, dropped.append)
    broker.clock.advance(6)
    await settled(lambda: len(dropped) == 500)
    assert [int(event.payload) for event in dropped] == list(range(500))
    assert {(event.reason, event.client and event.client.client_id) for event in dropped} == {
        ("session_terminated", "s")
    }
    assert broker.dropped("session_terminated") == 500
    broker = await kept.restart()
    assert broker.dropped("session_terminated") == 0
    assert "s" not in broker.engine.sessions


async def test_a_restart_goes_on_with_the_messages_of_a_session_that_has_ended(kept: Kept) -> None:
    kept.settings = replace(kept.settings, disk_cache_size=3)
    broker = await kept.start()
    subscriber(broker).subscribe("a", qos=1)
    broker.connect("s", clean_start=False, session_expiry_interval=5).disconnect()
    for number in range(500):
        broker.connect("p").publish("a", b"%d" % number, qos=1)
    dropped: list[MessageDropped] = []
    broker.engine.hooks.observe(MessageDropped, dropped.append)
    broker.clock.advance(6)
    before = len(dropped)
    assert before < 500
    broker = await kept.restart()
    assert broker.dropped("session_terminated") == 500 - len(dropped)


async def test_shared_messages_on_disk_go_to_the_others_of_the_group(kept: Kept) -> None:
    kept.settings = replace(kept.settings, disk_cache_size=3)
    broker = await kept.start()
    for name in ("s", "t"):
        subscriber(broker, name).subscribe("$share/g/a", qos=1)
        broker.connect(name, clean_start=False, session_expiry_interval=1000).disconnect()
    for number in range(40):
        broker.connect("p").publish("a", b"%d" % number, qos=1)
    broker.connect("s", clean_start=True)
    client = broker.connect("t", clean_start=False, session_expiry_interval=1000)
    assert sorted(map(int, await until_sent(client, 40))) == list(range(40))
    assert broker.engine.counters.dropped.total() == 0
