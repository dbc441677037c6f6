"""Messages that came in one read are kept as one, and still each of them is safe."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybroker.broker.packets.encoder import make_publish
from pybroker.broker.packets.model import Puback, Publish
from pybroker.broker.state.database import StateDatabase
from pybroker.broker.state.dump import dump
from pybroker.broker.state.files import DATABASE
from pybroker.broker.state.tool import verify
from tests.harness import FOR_EVER, Broker, Client

from .kept import Kept


def burst(client: Client, first: int, last: int, qos: int = 1) -> None:
    """Messages of which each tells its number, all in one read."""
    numbers = range(first, last + 1)
    client.send(
        *(make_publish("t", b"%d" % n, qos=qos, packet_id=n, version=client.version) for n in numbers)
    )


def away(broker: Broker) -> Client:
    client = broker.connect("s", 4, clean_start=False)
    client.subscribe("t", 2)
    client.disconnect()
    return client


def numbers(packets: list[Publish]) -> list[int]:
    return [int(packet.payload) for packet in packets]


def opened(kept: Kept) -> StateDatabase:
    return StateDatabase(kept.settings.path / DATABASE)


async def test_an_offline_session_has_one_row_for_a_read(tmp_path: Path) -> None:
    kept = Kept(tmp_path, disk_cache_size=1)
    broker = await kept.start()
    away(broker)
    publisher = broker.connect("p", 4)
    publisher.publish("t", b"0", qos=1)
    publisher.publish("t", b"1", qos=1)
    burst(publisher, 2, 50)
    await kept.stop()
    database = opened(kept)
    assert [head.length for head in database.stretches()] == [49]
    assert [entry.number for entry, _ in database.in_order()] == list(range(1, 52))
    assert database.counts()["entry"] == 51
    assert database.faults() == []
    database.close()
    assert verify(kept.settings.path) == 0


@pytest.mark.parametrize("cache", [1, 1000])
@pytest.mark.parametrize("crash", [False, True])
async def test_what_is_acknowledged_out_of_order_does_not_come_again(
    tmp_path: Path, crash: bool, cache: int
) -> None:
    kept = Kept(tmp_path / "state", disk_cache_size=cache)
    broker = await kept.start(max_inflight_window=20)
    client = broker.connect("s", 4, clean_start=False)
    client.subscribe("t", 1)
    publisher = broker.connect("p", 4)
    publisher.publish("t", b"0", qos=1)
    client.messages()
    burst(publisher, 1, 10)
    sent = [client.message(acknowledge=False) for _ in range(10)]
    client.send(*(Puback(sent[n].packet_id) for n in (2, 3, 7, 0)))
    broker = await (kept.crash(tmp_path / "copy") if crash else kept.restart(max_inflight_window=20))
    client = broker.connect("s", 4, clean_start=False)
    again = [client.message(acknowledge=False) for _ in range(6)]
    assert [(int(m.payload), m.packet_id) for m in again] == [
        (n, sent[n - 1].packet_id) for n in (2, 5, 6, 7, 9, 10)
    ]
    assert all(m.dup for m in again)
    client.send(Puback(again[1].packet_id))
    broker = await kept.restart()
    client = broker.connect("s", 4, clean_start=False)
    assert numbers(client.messages()) == [2, 6, 7, 9, 10]
    await kept.stop()
    database = opened(kept)
    assert database.counts()["entry"] == 0
    assert database.flights() == []
    database.close()


async def test_a_run_that_was_acknowledged_at_once_never_gets_into_the_database(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    broker = await kept.start()
    client = broker.connect("s", 5, session_expiry_interval=FOR_EVER)
    client.subscribe("t", 1)
    publisher = broker.connect("p", 5)
    publisher.publish("t", b"0", qos=1)
    client.messages()
    burst(publisher, 1, 30)
    assert numbers(client.messages()) == list(range(1, 31))
    assert kept.state is not None
    notes = broker.engine.sessions.get("s").keeper._notes  # type: ignore[union-attr]
    changes = notes.take_changes()
    assert (changes.stretches, changes.entries, changes.gone, changes.moved) == ([], {}, set(), {})
    await kept.stop()


async def test_a_dump_has_each_message(tmp_path: Path) -> None:
    kept = Kept(tmp_path, disk_cache_size=0)
    broker = await kept.start()
    away(broker)
    publisher = broker.connect("p", 4)
    publisher.publish("t", b"0", qos=1)
    publisher.publish("t", b"1", qos=1)
    burst(publisher, 2, 5, qos=2)
    await kept.stop()
    database = opened(kept)
    kinds = [line.split('"')[3] for line in dump(database)]
    assert (kinds.count("message"), kinds.count("entry")) == (6, 6)
    database.close()


async def test_a_session_that_ends_leaves_no_stretch(tmp_path: Path) -> None:
    kept = Kept(tmp_path, disk_cache_size=0)
    broker = await kept.start(max_inflight_window=2)
    away(broker)
    publisher = broker.connect("p", 4)
    publisher.publish("t", b"0", qos=1)
    burst(publisher, 1, 5)
    broker = await kept.restart(max_inflight_window=2)
    broker.connect("s", 4, clean_start=True)
    await kept.stop()
    database = opened(kept)
    assert list(database.stretches()) == []
    assert database.flights() == []
    database.close()
