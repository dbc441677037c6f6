"""What each worker goes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybroker.broker.bridge.settings import BridgeSettings
from pybroker.broker.config.settings import (
    HttpServerSettings,
    Limits,
    ListenerSettings,
    PresetSession,
    PushRegistrations,
    Settings,
    SqliteSettings,
)
from pybroker.broker.process.state_layout import LayoutError, check_layout, settings_of
from pybroker.broker.state.files import DATABASE
from pybroker.webhook.settings import Spool, WebhookSettings

WHOLE = Settings(
    workers=3,
    http_server=HttpServerSettings(),
    sqlite=SqliteSettings(Path("/state")),
    limits=Limits(connect_rate=9.0),
    listeners=(ListenerSettings("tcp", "tcp", connect_rate=3.0),),
    webhooks=(WebhookSettings("w", "http://h/", spool=Spool(Path("/spool"))),),
    push_registrations=PushRegistrations(Path("/push"), max=10, max_bytes=300),
    presets=tuple(PresetSession(f"p{n}", f"c{n}") for n in range(30)),
)
PARTS = [settings_of(WHOLE, index, 3) for index in range(3)]


def test_each_has_files_of_its_own() -> None:
    assert [str(part.sqlite.path) for part in PARTS if part.sqlite] == [
        f"/state/worker-{n}" for n in (1, 2, 3)
    ]
    spools = [part.webhooks[0].spool for part in PARTS]
    assert [str(spool.path) for spool in spools if spool] == [f"/spool/worker-{n}" for n in (1, 2, 3)]


def test_devices_are_registered_with_their_client() -> None:
    shares = [part.push_registrations for part in PARTS]
    assert [str(share.path) for share in shares] == [f"/push/worker-{n}" for n in (1, 2, 3)]
    assert {(share.max, share.max_bytes) for share in shares} == {(4, 100)}


def test_what_is_there_once_is_the_first_ones() -> None:
    assert [part.http_server is not None for part in PARTS] == [True, False, False]
    assert [part.sys.interval for part in PARTS] == [60.0, 0.0, 0.0]


def test_bridges_are_the_first_ones() -> None:
    bridge = object.__new__(BridgeSettings)
    whole = Settings(workers=2, bridges=(bridge,))
    assert [len(settings_of(whole, index, 2).bridges) for index in range(2)] == [1, 0]


def test_rates_are_shared() -> None:
    assert {part.limits.connect_rate for part in PARTS} == {3.0}
    assert {part.listeners[0].connect_rate for part in PARTS} == {1.0}


def test_each_preset_session_is_where_its_client_is_looked_for() -> None:
    assert sorted(p.name for part in PARTS for p in part.presets) == sorted(p.name for p in WHOLE.presets)
    assert all(part.presets for part in PARTS)


def test_state_of_so_many_workers_is_known(tmp_path: Path) -> None:
    check_layout(tmp_path / "none", 3)
    check_layout(tmp_path, 3)
    for n in (1, 2):
        (tmp_path / f"worker-{n}").mkdir()
        (tmp_path / f"worker-{n}" / DATABASE).touch()
    check_layout(tmp_path, 2)
    with pytest.raises(LayoutError, match="2 workers, not of 3 workers"):
        check_layout(tmp_path, 3)
