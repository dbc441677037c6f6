"""What waits on disk outlives the process, in order, and is bounded."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pybroker.broker import events
from pybroker.broker.clock import ManualClock
from pybroker.broker.storage.journal import SMALLEST_HALF, Journal
from pybroker.webhook import Batch, Retry, SettingsError, Sink, Spool
from pybroker.webhook.parcels import Delivery
from pybroker.webhook.reports import render
from pybroker.webhook.spool.files import SpoolError
from pybroker.webhook.spool.store import Store
from tests.waiting import until

from .conftest import drained
from .receiver import Receiver, answer, hang
from .recorder import Recorder
from .samples import endpoint, published

PATIENT = Retry(max_attempts=1_000_000, first=0.001, max=0.01, ttl=1e9)


def spooled(url: str, path: Path, **more) -> object:
    of_spool = {key: more.pop(key) for key in ("max_size", "max_age", "fsync") if key in more}
    of_spool.setdefault("max_age", 1e9)
    more.setdefault("retry", PATIENT)
    return endpoint(url, spool=Spool(path, **of_spool), **more)


def offer(sink: Sink, numbers: range, **more) -> None:
    for number in numbers:
        sink.offer(published(str(number).encode(), **more))


def payloads(receiver: Receiver) -> list[int]:
    return [int(request.json["payload"]) for request in receiver.requests]


@pytest.mark.parametrize("fsync", ["interval", "always"])
async def test_what_was_left_is_sent_after_the_restart(receiver, start, tmp_path, fsync) -> None:
    receiver.default = 503
    settings = spooled(receiver.url, tmp_path, order="client", fsync=fsync)
    sink = await start(settings)
    offer(sink, range(500))
    await until(lambda: receiver.requests)
    ids = {request.body: request.id for request in receiver.requests}
    [left] = await sink.stop(5)
    assert str(left) == (
        "webhook webhook: 500 events not delivered, in the spool, to be sent after the next start"
    )
    receiver.requests.clear()
    receiver.default = 200

    sink = await start(settings)
    assert sink.stats()[0].matched == 500
    offer(sink, range(500, 520))
    await drained(sink)
    assert payloads(receiver) == list(range(520))
    assert all(request.id == ids.get(request.body, request.id) for request in receiver.requests)
    assert len({request.id for request in receiver.requests}) == 520
    assert await sink.stop(5) == []
    assert Store(tmp_path / "webhook.db").waiting() == (0, 0)


async def test_what_is_delivered_at_once_never_touches_the_database(receiver, start, tmp_path) -> None:
    sink = await start(spooled(receiver.url, tmp_path))
    offer(sink, range(50))
    await drained(sink)
    await sink.stop(5)
    store = Store(tmp_path / "webhook.db")
    assert store.committed_generation() == 0
    store.close()


async def test_always_means_on_disk_before_it_is_sent(receiver, start, tmp_path) -> None:
    on_disk = []

    async def look(request):
        store = Store(tmp_path / "webhook.db", create=False)
        on_disk.append(store.waiting()[0])
        store.close()
        return await answer(200)(request)

    receiver.default = look
    sink = await start(spooled(receiver.url, tmp_path, fsync="always", pool_size=1))
    sink.offer(published(b"1"))
    await drained(sink)
    assert on_disk == [1]


async def test_more_waits_on_disk_than_memory_holds(receiver, start, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pybroker.webhook.spool.spool.COMMIT_INTERVAL", 0.01)
    receiver.default = hang
    sink = await start(
        spooled(receiver.url, tmp_path, queue_max_events=300, order="client", cancel_timeout=0.05)
    )
    for first in range(0, 5000, 250):
        offer(sink, range(first, first + 250), client=events.Client("c"))
        await until(lambda: not sink._endpoints[0]._backlog._changes.puts)
    stats = sink.stats()[0]
    assert (stats.queued + stats.in_flight, stats.dropped) == (5000, 0)
    assert len(sink._endpoints[0]._queue) <= 300
    receiver.requests.clear()
    receiver.default = 200
    await drained(sink)
    assert list(dict.fromkeys(payloads(receiver))) == list(range(5000))
    assert sink.stats()[0].succeeded == 5000


async def test_events_keep_coming_while_the_disk_is_read(start, tmp_path, monkeypatch) -> None:
    """What comes while the last of it is read has to wait for its commit."""
    recorder = Recorder(503)
    settings = spooled("memory:", tmp_path, fsync="always", queue_max_events=10)
    sink = await start(settings, transport=recorder)
    offer(sink, range(100))
    await until(lambda: not sink._endpoints[0]._backlog._changes.puts)
    read = Store.read

    def read_and_offer(store: Store, after: int, *limits: int) -> list[Delivery]:
        found = read(store, after, *limits)
        if not found:
            loop.call_soon_threadsafe(lambda: offer(sink, range(100, 110)))
            monkeypatch.setattr(Store, "read", read)
        return found

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(Store, "read", read_and_offer)
    recorder.default = 200
    await until(lambda: sink.stats()[0].succeeded == 110)


async def test_a_full_spool_loses_the_new_event(receiver, start, tmp_path, caplog) -> None:
    receiver.default = hang
    sink = await start(spooled(receiver.url, tmp_path, max_size=50_000))
    offer(sink, range(200))
    stats = sink.stats()[0]
    assert stats.dropped_full == 200 - stats.queued > 0
    assert stats.spooled_bytes <= 51_000
    assert "the spool is full" in caplog.text


async def test_a_full_spool_may_lose_the_oldest(receiver, start, tmp_path) -> None:
    receiver.default = 503
    settings = spooled(receiver.url, tmp_path, max_size=50_000, overflow="drop_oldest", pool_size=1)
    sink = await start(settings)
    offer(sink, range(200))
    kept = sink.stats()[0].queued
    await sink.stop(1)
    receiver.requests.clear()
    receiver.default = 200
    sink = await start(settings)
    await drained(sink)
    assert sorted(payloads(receiver)) == list(range(200 - kept, 200))


async def test_dead_letters_are_kept_with_the_answer(receiver, start, tmp_path) -> None:
    receiver.default = answer(400, "no such thing")
    sink = await start(spooled(receiver.url, tmp_path))
    offer(sink, range(3))
    await drained(sink)
    await sink.stop(5)
    assert sink.stats()[0].dead == 3
    assert sink.stats()[0].dead_letters == 3
    store = Store(tmp_path / "webhook.db")
    found = list(store.dead_letters())
    assert [letter.delivery.seq for letter in found] == [1, 2, 3]
    assert {(letter.why, letter.status, letter.answer) for letter in found} == {
        ("answered 400", 400, b"no such thing")
    }
    assert store.waiting() == (0, 0)
    store.close()


async def test_an_expired_event_is_a_dead_letter(receiver, start, tmp_path) -> None:
    receiver.default = 500
    sink = await start(spooled(receiver.url, tmp_path, retry=Retry(9, 0.001, 0.01, ttl=1)))
    offer(sink, range(1), at=1000.0)
    await drained(sink)
    stats = sink.stats()[0]
    assert (stats.dead, stats.dropped_expired) == (1, 0)


async def test_what_waits_too_long_is_a_dead_letter(receiver, start, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pybroker.webhook.spool.spool.TIDY_INTERVAL", 0.0)
    receiver.default = hang
    sink = await start(spooled(receiver.url, tmp_path, max_age=3600, pool_size=1))
    offer(sink, range(1), at=time.time())
    await until(lambda: receiver.requests)
    offer(sink, range(1, 4), at=time.time() - 4000)
    await until(lambda: sink.stats()[0].dead == 3)


async def test_age_and_size_are_seen_to_while_nothing_happens(start, tmp_path) -> None:
    clock, recorder = ManualClock(), Recorder(400)
    settings = spooled("memory:", tmp_path, max_age=3600, max_size=64 << 10, pool_size=1)
    sink = await start(settings, clock=clock, transport=recorder)
    backlog = sink._endpoints[0]._backlog

    async def committed() -> None:
        clock.advance(2)
        await until(lambda: not (backlog._changes or backlog._commit))

    for recorder.default, count in ((400, 70), (410, 1), (200, 70)):
        offer(sink, range(count), at=clock.time())
        await drained(sink)
        await committed()
    assert (sink.stats()[0].dead_letters, sink.stats()[0].queued) == (71, 70)

    clock.advance(60)
    await until(lambda: sink.stats()[0].dead_letters < 71)
    assert Store(tmp_path / "webhook.db").dead()[1] + sink.stats()[0].spooled_bytes <= 64 << 10
    clock.advance(3600)
    await until(lambda: sink.stats()[0].dead == 141)


async def test_the_disk_is_full_for_a_while(receiver, start, tmp_path, caplog, monkeypatch) -> None:
    monkeypatch.setattr("pybroker.webhook.spool.spool.RETRY_INTERVAL", 0.01)
    monkeypatch.setattr("pybroker.webhook.spool.spool.COMMIT_INTERVAL", 0.01)
    receiver.default = 503
    settings = spooled(receiver.url, tmp_path, breaker_failures=1)
    sink = await start(settings)
    db = sink._endpoints[0]._backlog._store.db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages + 1}")
    offer(sink, range(500))
    await until(lambda: sink.stats()[0].spool_errors > 2)
    assert "cannot be written: database or disk is full; it is tried again" in caplog.text
    assert sink.stats()[0].queued + sink.stats()[0].in_flight == 500

    receiver.default = 200  # what has no room on disk is delivered all the same
    await drained(sink)
    assert sink.stats()[0].succeeded == 500
    receiver.default = 503
    offer(sink, range(500, 600))
    db.execute("PRAGMA max_page_count = 1000000")
    await sink.stop(1)
    receiver.requests.clear()
    receiver.default = 200
    sink = await start(settings)
    await drained(sink)
    assert sorted(payloads(receiver)) == list(range(500, 600))


async def test_the_age_of_what_waits_for_its_commit(start, tmp_path) -> None:
    settings = spooled("memory:", tmp_path, fsync="always")
    clock = ManualClock()
    early = Sink([settings], clock=clock, transport=Recorder())
    offer(early, range(1), at=clock.time() - 60)
    assert early.stats()[0].oldest_age == 60

    sink = await start(settings, clock=clock, transport=Recorder())
    db = sink._endpoints[0]._backlog._store.db
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    for age in (30, 20):
        offer(sink, range(100), at=clock.time() - age)
        await until(lambda: sink.stats()[0].spool_errors)
    assert (sink.stats()[0].oldest_age, sink.stats()[0].queued) == (30, 200)


async def test_what_a_full_disk_loses_at_the_end_is_told(start, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pybroker.broker.storage.journal.HALF", SMALLEST_HALF)
    recorder = Recorder(503)
    settings = spooled("memory:", tmp_path)
    sink = await start(settings, transport=recorder)
    db = sink._endpoints[0]._backlog._store.db
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    for first in range(0, 1000, 50):
        offer(sink, range(first, first + 50))
        await asyncio.sleep(0)
    kept, lost = await sink.stop(0)
    assert (kept.spooled, lost.spooled) == (True, False)
    assert (kept.events + lost.events, bool(lost.events)) == (1000, True)

    recorder.default = 200
    recorder.requests.clear()
    sink = await start(settings, transport=recorder)
    await drained(sink)
    assert len({request.id for request in recorder.requests}) == kept.events


async def test_the_spool_is_open_until_every_endpoint_has_stopped(start, tmp_path, caplog) -> None:
    recorder = Recorder(lambda _: asyncio.Event().wait())
    settings = spooled("memory:", tmp_path, name="spooled")
    sink = await start(settings, endpoint("memory:", name="slow"), transport=recorder)
    offer(sink, range(1))
    await until(lambda: recorder.of("slow"))
    stopping = asyncio.create_task(sink.stop(0.1))
    await until(lambda: sink.stats()[0].state == "stopped")
    offer(sink, range(1, 2))
    left = {one.name: (one.events, one.spooled) for one in await stopping}
    assert left == {"spooled": (2, True), "slow": (2, False)}
    recorder.default = 200
    sink = await start(settings, transport=recorder)
    await drained(sink)
    assert sink.stats()[0].succeeded == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs")
async def test_a_small_disk(receiver, start, tmp_path, caplog, monkeypatch) -> None:
    import subprocess

    monkeypatch.setattr("pybroker.webhook.spool.spool.RETRY_INTERVAL", 0.01)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        receiver.default = hang
        sink = await start(spooled(receiver.url, disk, queue_max_events=1000))
        for first in range(0, 3000, 100):
            offer(sink, range(first, first + 100))
            await asyncio.sleep(0)
        await until(lambda: sink.stats()[0].spool_errors)
        assert "disk is full" in caplog.text
        for first in range(3000, 6000, 100):
            offer(sink, range(first, first + 100))
            await asyncio.sleep(0)
        stats = sink.stats()[0]
        assert stats.dropped_full > 0
        assert stats.adds_up
        await sink.stop(0)
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


async def test_two_brokers_cannot_share_a_spool(receiver, start, tmp_path) -> None:
    await start(spooled(receiver.url, tmp_path))
    with pytest.raises(SpoolError, match="another process uses it"):
        await start(spooled(receiver.url, tmp_path))


async def test_a_spool_that_cannot_be_opened_starts_nothing(receiver, tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    sink = Sink(
        [
            spooled(receiver.url, tmp_path / "good", name="good"),
            spooled(receiver.url, tmp_path / "file" / "sub", name="bad"),
        ]
    )
    with pytest.raises(SpoolError, match=r"webhook bad: the spool .*/file/sub: Not a directory"):
        await sink.start()
    Journal(tmp_path / "good" / "good.journal").close()  # free again


@pytest.mark.parametrize("killed", [False, True])
async def test_events_of_an_endpoint_that_was_renamed_are_told(start, tmp_path, caplog, killed) -> None:
    old = spooled("memory:", tmp_path / "old", name="old")
    sink = await start(old, transport=Recorder(503))
    offer(sink, range(3))
    if killed:
        shutil.copytree(tmp_path / "old", tmp_path / "spool")
        await sink.stop(0)
    else:
        await sink.stop(0)
        shutil.copytree(tmp_path / "old", tmp_path / "spool")
    new = await start(spooled("memory:", tmp_path / "spool", name="new"), transport=Recorder())
    assert f"webhook old: events wait in the spool {tmp_path / 'spool'}" in caplog.text
    await new.stop(0)

    caplog.clear()
    again = await start(spooled("memory:", tmp_path / "spool", name="old"), transport=Recorder())
    await drained(again)
    await start(spooled("memory:", tmp_path / "spool", name="new"), transport=Recorder())
    await again.stop(0)
    await start(spooled("memory:", tmp_path / "spool", name="third"), transport=Recorder())
    assert "events wait" not in caplog.text


async def test_a_damaged_database_is_reported(receiver, tmp_path) -> None:
    (tmp_path / "webhook.db").write_bytes(b"this is no database" * 1000)
    sink = Sink([spooled(receiver.url, tmp_path)])
    with pytest.raises(SpoolError, match=r"webhook\.db: file is not a database; move the files away"):
        await sink.start()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (
            lambda path: (path / "webhook.journal").write_bytes(b"\xff" * (1 << 20)),
            "webhook.journal is damaged; ",
        ),
        (
            lambda path: (path / "webhook.db").unlink() or (path / "webhook.db").mkdir(),
            "webhook.db: Is a directory; ",
        ),
        (
            lambda path: execute(path, "PRAGMA user_version = 9"),
            "webhook.db: format 9 is that of a newer pybroker; ",
        ),
        (
            lambda path: execute(path, "UPDATE waiting SET headers = '['"),
            "the headers of event 1 are damaged; ",
        ),
    ],
)
async def test_files_that_cannot_be_used(start, tmp_path, damage, complaint) -> None:
    settings = spooled("memory:", tmp_path)
    sink = await start(settings, transport=Recorder(503))
    offer(sink, range(3))
    await sink.stop(0)
    damage(tmp_path)
    with pytest.raises(SpoolError) as caught:
        await start(settings, transport=Recorder())
    assert str(caught.value).startswith(f"webhook webhook: the spool {tmp_path}: ")
    assert complaint in str(caught.value)


async def test_a_damaged_journal_loses_what_cannot_be_read_and_says_so(start, tmp_path, caplog) -> None:
    settings = spooled("memory:", tmp_path / "spool", order="client")
    sink = await start(settings, transport=Recorder(503))
    offer(sink, range(10_000, 10_100))
    shutil.copytree(tmp_path / "spool", tmp_path / "killed")  # as a kill leaves them: in the journal alone
    await sink.stop(0)
    path = tmp_path / "killed" / "webhook.journal"
    data = bytearray(path.read_bytes())
    data[data.index(b"10008")] ^= 1
    path.write_bytes(data)

    recorder = Recorder()
    sink = await start(spooled("memory:", tmp_path / "killed", order="client"), transport=recorder)
    await drained(sink)
    assert payloads(recorder) == [number for number in range(10_000, 10_100) if number != 10_008]
    assert sink.stats()[0].spool_damaged == 1
    assert (
        f"webhook webhook: the journal of the spool {tmp_path / 'killed'} is damaged in 1 place: "
        in caplog.text
    )
    assert "damaged places in the spool's journal: 1" in render(sink.stats())


def execute(path: Path, statement: str) -> None:
    db = sqlite3.connect(path / "webhook.db", isolation_level=None)
    db.execute(statement)
    db.close()


async def test_a_full_disk_keeps_nothing_from_starting(start, tmp_path, caplog, monkeypatch) -> None:
    monkeypatch.setattr("pybroker.webhook.spool.spool.RETRY_INTERVAL", 0.01)
    settings = spooled("memory:", tmp_path, order="client")
    sink = await start(settings, transport=Recorder(503))
    offer(sink, range(100))
    shutil.copytree(tmp_path, tmp_path / "killed")  # as a kill leaves them: in the journal alone
    await sink.stop(0)

    prepare = Store._prepare

    def prepare_without_room(store: Store, migrations: list[str]) -> None:
        prepare(store, migrations)
        pages = store.db.execute("PRAGMA page_count").fetchone()[0]
        store.db.execute(f"PRAGMA max_page_count = {pages}")

    monkeypatch.setattr(Store, "_prepare", prepare_without_room)
    recorder = Recorder()
    sink = await start(
        spooled("memory:", tmp_path / "killed", order="client", queue_max_events=10), transport=recorder
    )
    offer(sink, range(100, 120))
    await until(lambda: sink.stats()[0].spool_errors > 2)
    assert "webhook.db: database or disk is full; free some space; the write is tried again" in caplog.text
    stats = sink.stats()[0]
    assert (stats.queued, stats.dropped_full, stats.adds_up) == (10, 10, True), "memory is bounded"
    assert recorder.requests == []

    monkeypatch.setattr(Store, "_prepare", prepare)
    await drained(sink)
    assert payloads(recorder) == list(range(110)), "the older ones first"
    offer(sink, range(110, 120))
    await drained(sink)
    assert payloads(recorder) == list(range(120))
    assert len({request.id for request in recorder.requests}) == 120
    assert sink.stats()[0].adds_up
    assert await sink.stop(5) == []


async def test_what_waits_in_memory_for_a_full_disk_is_told_at_the_end(start, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pybroker.webhook.spool.spool.RETRY_INTERVAL", 0.01)

    def no_room(store: Store, migrations: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Store, "_prepare", no_room)
    sink = await start(spooled("memory:", tmp_path, queue_max_bytes=5_000), transport=Recorder())
    offer(sink, range(100))
    kept = sink.stats()[0].queued
    assert 0 < kept < 20
    [left] = await sink.stop(0)
    assert (left.events, left.spooled) == (kept, False)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs")
async def test_a_disk_that_is_full_to_the_last_byte(start, tmp_path, monkeypatch) -> None:
    import subprocess

    monkeypatch.setattr("pybroker.webhook.spool.spool.RETRY_INTERVAL", 0.01)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        recorder = Recorder(503)
        settings = spooled("memory:", disk, order="client")
        for numbers in (range(100), range(100, 200)):  # the second time with files of its own there
            fill(disk / "ballast")
            sink = await start(settings, transport=recorder)
            offer(sink, numbers)
            if numbers.start == 0:
                await until(lambda: sink.stats()[0].spool_errors > 1)  # noqa: B023
            (disk / "ballast").unlink()
            await until(lambda: sink.stats()[0].tries)  # noqa: B023
            await sink.stop(0)
        recorder.default = 200
        recorder.requests.clear()
        sink = await start(settings, transport=recorder)
        await drained(sink)
        assert payloads(recorder) == list(range(200))
        await sink.stop(0)
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


async def test_a_name_that_is_no_file_name(tmp_path) -> None:
    with pytest.raises(SettingsError, match='webhook a/b: files of a spool cannot have a name with "/"'):
        Sink([spooled("memory:", tmp_path, name="a/b")], transport=Recorder())


async def test_events_before_the_start_are_not_lost(receiver, start, tmp_path) -> None:
    receiver.default = 503
    settings = spooled(receiver.url, tmp_path)
    first = await start(settings)
    offer(first, range(10))
    await first.stop(1)
    receiver.default = 200
    receiver.requests.clear()
    sink = Sink([settings])
    offer(sink, range(10, 20))
    await sink.start()
    await drained(sink)
    assert sorted(payloads(receiver)) == list(range(20))
    assert sink.stats()[0].adds_up
    await sink.stop(1)


async def test_batches_from_the_spool(receiver, start, tmp_path) -> None:
    receiver.default = 503
    settings = spooled(receiver.url, tmp_path, batch=Batch(size=20, time=0.01))
    sink = await start(settings)
    offer(sink, range(100))
    await until(lambda: receiver.requests)
    await sink.stop(1)
    receiver.requests.clear()
    receiver.default = 200
    sink = await start(settings)
    await drained(sink)
    got = [int(item["payload"]) for request in receiver.requests for item in request.json]
    assert sorted(got) == list(range(100))


async def test_full_batches_that_are_read_from_disk_go_at_once(start, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pybroker.webhook.spool.spool.READ_AT_ONCE", 25)
    recorder = Recorder(503)
    settings = spooled("memory:", tmp_path, pool_size=1, batch=Batch(size=10, time=3600))
    sink = await start(settings, transport=recorder)
    offer(sink, range(45))
    await sink.stop(0)
    recorder.default = 200
    sink = await start(settings, transport=recorder)
    await until(lambda: sink.stats()[0].succeeded == 40)  # the last 5 wait for more


async def test_a_big_event_is_spooled_too(receiver, start, tmp_path) -> None:
    receiver.default = 503
    settings = spooled(receiver.url, tmp_path)
    sink = await start(settings)
    sink.offer(published(b"x" * (6 << 20)))
    await until(lambda: not sink._endpoints[0]._backlog._changes.puts)
    await sink.stop(0)
    receiver.default = 200
    sink = await start(settings)
    await drained(sink)
    assert len(receiver.requests[-1].json["payload"]) == 6 << 20


async def test_the_database_may_be_read_while_the_broker_writes(receiver, start, tmp_path) -> None:
    receiver.default = 503
    await start(spooled(receiver.url, tmp_path))
    db = sqlite3.connect(tmp_path / "webhook.db")
    assert db.execute("SELECT count(*) FROM waiting").fetchone() == (0,)
    db.close()
