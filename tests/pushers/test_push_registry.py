"""Who is registered for notifications: bounds, and what a restart and a full disk leave of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest

from pybroker.webhook.push.registration import (
    MAX_PAYLOAD,
    BadRegistrationError,
    Registration,
    device_of,
    read,
    registration,
)
from pybroker.webhook.push.registry import Bounds, FullError, Registry
from pybroker.webhook.push.store import StoreError


def phone(client: str = "c1", device: str = "d1", **more) -> Registration:
    return Registration(client, "fcm", device, at=1.0, **more)


async def test_a_restart_finds_what_was_registered(tmp_path) -> None:
    before = Registry(tmp_path, Bounds())
    await before.open()
    wanted = [phone(), phone("c1", "d2", silent=True, priority="high"), phone("c2")]
    await asyncio.gather(*(before.add(one) for one in wanted))
    await before.add(phone("c2", topic="org.example"))  # replaces
    await before.add(phone("c3"))
    assert await before.remove_all("c3") == 1
    await before.close()
    after = Registry(tmp_path, Bounds())
    await after.open()
    assert set(after) == {*wanted[:2], phone("c2", topic="org.example")}
    assert len(after) == 3
    assert "c3" not in after
    assert "c1" in after
    await after.close()


async def test_without_a_directory_it_is_memory_alone() -> None:
    registry = Registry(None, Bounds())
    await registry.open()
    await registry.add(phone())
    assert registry.of("c1") == (phone(),)
    assert await registry.remove_all("c1", "other") == 0
    assert await registry.remove_all("c1", "d1") == 1
    assert (len(registry), registry.of("c1")) == (0, ())
    await registry.close()


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        (Bounds(all=3), "push_registrations.max)"),
        (Bounds(per_client=3), "max_per_client"),
        (Bounds(bytes=phone().size * 3), "max_bytes"),
    ],
)
async def test_there_is_a_bound(bounds, said) -> None:
    registry = Registry(None, bounds)
    results = await asyncio.gather(
        *(registry.add(phone("c1", f"d{number}")) for number in range(5)), return_exceptions=True
    )
    assert results[:3] == [None] * 3
    assert all(isinstance(one, FullError) and said in str(one) for one in results[3:])
    await registry.add(phone("c1", "d0"))  # it is there already
    await registry.remove(phone("c1", "d0"))
    await registry.add(phone("c1", "d9"))


async def test_what_cannot_be_written_has_not_happened(tmp_path, monkeypatch) -> None:
    registry = Registry(tmp_path, Bounds())
    await registry.open()
    await registry.add(phone())

    def full(changes) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(registry._store, "write", full)
    changes = (
        registry.add(phone("c1", "d1", silent=True)),
        registry.add(phone("c1", "d2")),
        registry.remove(phone()),
    )
    results = await asyncio.gather(*changes, return_exceptions=True)
    assert all(isinstance(one, StoreError) and "disk is full" in str(one) for one in results)
    assert registry.of("c1") == (phone(),)
    assert len(registry) == 1
    await registry.close()


async def test_one_registered_anew_is_not_removed() -> None:
    registry = Registry(None, Bounds())
    await registry.add(phone())
    anew = Registration("c1", "fcm", "d1", at=2.0)
    await registry.add(anew)
    await registry.remove(phone())
    assert registry.of("c1") == (anew,)


async def test_another_process_has_the_file(tmp_path) -> None:
    one, other = Registry(tmp_path, Bounds()), Registry(tmp_path, Bounds())
    await one.open()
    with pytest.raises(StoreError, match="another process uses it"):
        await other.open()
    await one.close()
    await other.open()
    await other.close()


@pytest.mark.parametrize("content", [b"not a database" * 100, b""])
async def test_a_file_that_is_damaged(tmp_path, content) -> None:
    (tmp_path / "push-registrations.sqlite").write_bytes(content)
    registry = Registry(tmp_path, Bounds())
    if content:
        with pytest.raises(StoreError, match="move it away"):
            await registry.open()
    else:
        await registry.open()
        await registry.close()


async def test_a_directory_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="must be able to write there"):
        await Registry(tmp_path / "file" / "below", Bounds()).open()


# ---- what a client says


def test_a_whole_registration() -> None:
    wanted = {
        "service": "apns",
        "device_id": "abc",
        "mode": "dev",
        "topic": "org.example",
        "priority": "high",
        "sound": "ping",
        "click_action": "OPEN",
        "silent": True,
        "mutable_content": False,
    }
    found = registration("c1", read(json.dumps(wanted).encode()), at=7.0)
    assert found.client == "c1"
    assert found.at == 7.0
    assert {key: getattr(found, key) for key in wanted} == wanted


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 8000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"' + b"x" * MAX_PAYLOAD + b'"', "bytes; 8192 are allowed"),
        (b"{}", '"service" is missing'),
        (b'{"service":"fcm"}', '"device_id" is missing'),
        (b'{"service":"sms","device_id":"x"}', '"service" is one of apns, fcm'),
        (b'{"service":"fcm","device_id":7}', '"device_id" is a text'),
        (b'{"service":"fcm","device_id":"a\\nb"}', "printable"),
        (b'{"service":"fcm","device_id":"x","silent":"yes"}', '"silent" is true or false'),
        (b'{"service":"fcm","device_id":"x","mode":"test"}', '"mode" is one of prod, dev'),
        (b'{"service":"fcm","device_id":"x","tags":[]}', '"tags" is not known; there are service'),
        (b'{"service":"fcm","device_id":"' + b"x" * 5000 + b'"}', "1 to 4096"),
    ],
)
def test_what_is_no_registration(payload, said) -> None:
    with pytest.raises(BadRegistrationError) as raised:
        registration("c1", read(payload), at=0.0)
    assert said in str(raised.value)


def test_which_device_is_forgotten() -> None:
    assert device_of({}) is None
    assert device_of({"service": "fcm", "device_id": "x"}) == "x"
    with pytest.raises(BadRegistrationError, match=r"not known"):
        device_of({"device": "x"})
