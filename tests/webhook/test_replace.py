"""A reload keeps what waits."""

from __future__ import annotations

import asyncio
import dataclasses
import threading

import pytest

from pybroker.broker import events
from pybroker.webhook import Retry, Rule, SettingsError, Spool
from pybroker.webhook.spool.files import SpoolError
from pybroker.webhook.spool.store import Store
from tests.waiting import until

from .conftest import drained
from .recorder import Recorder
from .samples import SAMPLES, endpoint, published

PATIENT = Retry(max_attempts=1_000_000, first=0.001, max=0.01, ttl=1e9)


def payloads(recorder: Recorder, endpoint: str = "webhook") -> list[int]:
    return [int(request.json["payload"]) for request in recorder.of(endpoint)]


def offer(sink, numbers: range) -> None:
    for number in numbers:
        sink.offer(published(str(number).encode()))


async def test_an_endpoint_that_did_not_change_is_kept(start) -> None:
    recorder = Recorder()
    settings = endpoint("memory:")
    sink = await start(settings, transport=recorder)
    before = sink._endpoints[0]
    offer(sink, range(3))
    await sink.replace([settings, endpoint("memory:", name="second")])
    assert sink._endpoints[0] is before
    offer(sink, range(3, 5))
    await drained(sink)
    assert payloads(recorder) == [0, 1, 2, 3, 4]
    assert payloads(recorder, "second") == [3, 4]


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("change", [{"pool_size": 2}, {"order": "client"}, {"headers": (("x-new", "1"),)}])
async def test_what_waits_goes_by_the_new_settings(start, tmp_path, spooled, change) -> None:
    recorder = Recorder(default=503)
    spool = Spool(tmp_path, max_age=1e9) if spooled else None
    settings = endpoint("memory:", retry=PATIENT, spool=spool, cancel_timeout=0.1)
    sink = await start(settings, transport=recorder)
    offer(sink, range(200))
    await until(lambda: sink.stats()[0].retries)
    changing = asyncio.create_task(sink.replace([dataclasses.replace(settings, **change)]))
    await asyncio.sleep(0)
    offer(sink, range(200, 300))
    assert await changing == []
    recorder.requests.clear()
    recorder.default = 200
    await drained(sink)
    assert sorted(payloads(recorder)) == list(range(300))
    stats = sink.stats()[0]
    assert (stats.matched, stats.succeeded, stats.dropped) == (300, 300, 0)
    if "headers" in change:
        assert all(request.headers["x-new"] == "1" for request in recorder.requests)


async def test_requests_in_flight_may_finish(start) -> None:
    go_on = asyncio.Event()

    async def slowly(_):
        await go_on.wait()
        return 200

    recorder = Recorder(slowly)
    settings = endpoint("memory:")
    sink = await start(settings, transport=recorder)
    offer(sink, range(1))
    await until(lambda: sink.stats()[0].in_flight)
    changing = asyncio.create_task(sink.replace([dataclasses.replace(settings, pool_size=1)]))
    await asyncio.sleep(0.01)
    go_on.set()
    await changing
    await drained(sink)
    assert payloads(recorder) == [0]


async def test_a_removed_endpoint_is_drained(start) -> None:
    recorder = Recorder()
    sink = await start(endpoint("memory:"), transport=recorder)
    offer(sink, range(100))
    assert await sink.replace([]) == []
    assert payloads(recorder) == list(range(100))
    assert sink.stats() == []
    assert not sink.wants(events.MessagePublished)


async def test_what_a_removed_endpoint_could_not_send_is_reported(start) -> None:
    sink = await start(endpoint("memory:", retry=PATIENT, drain_timeout=0.05), transport=Recorder(503))
    offer(sink, range(7))
    [left] = await sink.replace([])
    assert str(left) == "webhook webhook: 7 events not delivered, lost"


async def test_a_spool_that_is_new_takes_what_waited_in_memory(start, tmp_path) -> None:
    recorder = Recorder(503)
    settings = endpoint("memory:", retry=PATIENT, drain_timeout=0.05)
    sink = await start(settings, transport=recorder)
    offer(sink, range(50))
    spool = Spool(tmp_path, max_age=1e9)
    assert await sink.replace([dataclasses.replace(settings, spool=spool)]) == []
    assert sink.stats()[0].spooled_bytes > 0
    recorder.requests.clear()
    recorder.default = 200
    await drained(sink)
    assert sorted(payloads(recorder)) == list(range(50))


async def test_a_spool_that_is_left_keeps_its_events(start, tmp_path) -> None:
    recorder = Recorder(503)
    settings = endpoint("memory:", retry=PATIENT, spool=Spool(tmp_path, max_age=1e9))
    sink = await start(settings, transport=recorder)
    offer(sink, range(50))
    [left] = await sink.replace([dataclasses.replace(settings, spool=None)])
    assert (left.events, left.spooled) == (50, True)
    assert str(left).endswith("in the spool, to be sent when an endpoint of this name has that spool again")
    recorder.default = 200
    recorder.requests.clear()
    await sink.replace([settings])
    await drained(sink)
    assert sorted(payloads(recorder)) == list(range(50))


@pytest.mark.parametrize(("before", "after"), [("always", "interval"), ("interval", "always")])
async def test_what_is_not_committed_yet_goes_once_where_fsync_changes(
    start, tmp_path, monkeypatch, before, after
) -> None:
    may_commit = threading.Event()
    commit = Store.commit

    def slow_commit(*arguments) -> int:
        may_commit.wait()
        return commit(*arguments)

    monkeypatch.setattr(Store, "commit", slow_commit)
    monkeypatch.setattr("pybroker.webhook.spool.spool.COMMIT_INTERVAL", 0.01)
    recorder = Recorder(lambda _: asyncio.Event().wait())  # what was sent under the old settings is cut off
    spool = Spool(tmp_path, max_age=1e9, fsync=before)
    settings = endpoint("memory:", retry=PATIENT, spool=spool, cancel_timeout=0.1)
    sink = await start(settings, transport=recorder)
    offer(sink, range(50))
    await until(lambda: sink._endpoints[0]._backlog._commit)  # it is under way
    offer(sink, range(50, 100))
    await sink.replace([dataclasses.replace(settings, spool=dataclasses.replace(spool, fsync=after))])
    offer(sink, range(100, 120))
    recorder.requests.clear()
    recorder.default = 200
    may_commit.set()
    await drained(sink)
    assert len({request.id for request in recorder.requests}) == 120
    stats = sink.stats()[0]
    assert (stats.matched, stats.succeeded, stats.adds_up) == (120, 120, True)


async def test_what_went_before_its_commit_does_not_go_again_with_it(start, tmp_path) -> None:
    recorder = Recorder(503)
    spool = Spool(tmp_path, max_age=1e9)
    settings = endpoint("memory:", retry=PATIENT, spool=spool)
    sink = await start(settings, transport=recorder)
    offer(sink, range(50))
    await sink.replace([dataclasses.replace(settings, spool=dataclasses.replace(spool, fsync="always"))])
    await until(lambda: not sink._endpoints[0]._backlog._behind)
    offer(sink, range(50, 51))
    await until(lambda: not sink._endpoints[0]._backlog._changes.puts)
    recorder.default = 200
    await drained(sink)
    stats = sink.stats()[0]
    assert (stats.matched, stats.succeeded, stats.queued) == (51, 51, 0)


async def test_a_stop_in_the_middle_of_a_reload(start, tmp_path, caplog) -> None:
    answered = asyncio.Event()

    async def slowly(_):
        await answered.wait()
        return 200

    settings = endpoint("memory:", spool=Spool(tmp_path, max_age=1e9))
    sink = await start(settings, transport=Recorder(slowly))
    offer(sink, range(1))
    await until(lambda: sink.stats()[0].in_flight)
    changing = asyncio.create_task(sink.replace([dataclasses.replace(settings, pool_size=1)]))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(sink.stop(0))
    await asyncio.wait([stopping], timeout=0.1)  # time enough to close what is still in use
    answered.set()
    assert await changing == []
    assert await stopping == []
    assert sink.stats()[0].succeeded == 1
    store = Store(tmp_path / "webhook.db")
    assert store.waiting() == (0, 0)
    store.close()
    assert "mmap closed" not in caplog.text


async def test_rules_change_at_once(start) -> None:
    recorder = Recorder()
    sink = await start(endpoint("memory:", Rule("on_message_publish")), transport=recorder)
    await sink.replace([endpoint("memory:", Rule("on_client_connack"))])
    offer(sink, range(1))
    sink.offer(SAMPLES["on_client_connack"])
    await drained(sink)
    assert [request.json["action"] for request in recorder.requests] == ["client_connack"]
    assert not sink.wants_topic("nmq/pub")


async def test_settings_that_cannot_work_change_nothing(start, tmp_path) -> None:
    recorder = Recorder()
    sink = await start(endpoint("memory:"), transport=recorder)
    with pytest.raises(SettingsError):
        await sink.replace([endpoint("memory:", Rule("on_tea"))])
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError):
        await sink.replace([endpoint("memory:", spool=Spool(tmp_path / "file"))])
    offer(sink, range(3))
    await drained(sink)
    assert payloads(recorder) == [0, 1, 2]


async def test_two_endpoints_of_one_name_are_refused(start) -> None:
    with pytest.raises(SettingsError, match='there are two endpoints named "webhook"'):
        await start(endpoint("memory:"), endpoint("memory:"), transport=Recorder())
