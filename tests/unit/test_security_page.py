"""docs/security.md says what holds."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from pybroker.broker.config import load
from pybroker.broker.config.schema import ROWS
from pybroker.broker.config.settings import Limits
from pybroker.broker.engine import failures

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_safe_settings_load_without_a_warning(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem", "passwd.conf"):
        (tmp_path / name).write_text('"ann" = "x"\n')
    (block,) = re.findall(r"```hocon\n(.*?)```", PAGE, flags=re.S)
    conf = tmp_path / "nanomq.conf"
    conf.write_text(block.replace("/etc/pybroker", str(tmp_path)))
    settings = load(conf)
    assert settings.warnings == ()
    assert [listener.type for listener in settings.listeners] == ["ssl"]
    assert settings.listeners[0].host == "0.0.0.0"
    assert not settings.auth.allow_anonymous
    assert settings.auth.no_match == "deny"
    assert len(settings.auth.acl) == 2


def test_the_same_without_its_lock_is_warned_of(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text('listeners.tcp { bind = "0.0.0.0:1883" }\n')
    (warning,) = load(conf).warnings
    assert warning.key == "auth.allow_anonymous"


@pytest.mark.parametrize("path", [None, ROOT / "conf" / "nanomq.conf"])
def test_out_of_the_box_only_this_machine_gets_in(path: Path | None) -> None:
    settings = load(path)
    assert {listener.host for listener in settings.listeners} == {"127.0.0.1"}
    assert settings.warnings == ()


def test_every_limit_is_in_the_table_with_its_default() -> None:
    table = {
        match[1]: match[2].removesuffix(" (off)")
        for match in re.finditer(r"^\| `(\w+)` \| ([^|]+) \|", PAGE, flags=re.M)
        if f"limits.{match[1]}" in ROWS
    }
    assert table == {field.name: ROWS[f"limits.{field.name}"].default for field in fields(Limits)}


UNITS = {"": 1, "KB": 1 << 10, "MB": 1 << 20, "ms": 0.001, "s": 1}
BOUNDS = re.findall(r"^\| `([\w.]+\.\w+)` \| ([^|]+) \|", PAGE.partition("### Every bound")[2], flags=re.M)
NO_BOUNDS = {
    "broker.packets.primitives.MAX_VARIABLE_BYTE_INTEGER",  # the specification's
    "broker.routing.topics.MAX_BYTES",
    "broker.session.inflight.MAX_PACKET_ID",
    "broker.engine.connect.MAX_CLIENT_ID_3_1",
    "broker.transport.websocket.MAX_FRAME",  # how what is sent is cut up
    "broker.transport.tcp.LOW_WATER",
    "broker.engine.failures.LONGEST",  # see "Guessed passwords"
    "broker.live.feed.LONGEST_PAUSE",  # of the one who watches
}
"""Constants that are named like bounds of what a client may do."""
REACHED = [
    "engine",
    "packets",
    "protocol",
    "routing",
    "session",
    "delivery",
    "transport",
    "access",
    "plugins",
    "live",
]
"""Packages of the broker that clients get to."""


def test_every_bound_has_the_value_of_the_table() -> None:
    assert len(BOUNDS) > 40
    for name, value in BOUNDS:
        if name in ROWS:
            assert ROWS[name].default == value, name
        else:
            module, _, constant = name.rpartition(".")
            number, _, unit = value.replace(",", "").partition(" ")
            found = getattr(import_module(f"pybroker.{module}"), constant)
            assert found == pytest.approx(float(number) * UNITS[unit]), name


def test_no_bound_is_missing_in_the_table() -> None:
    table = {name for name, _ in BOUNDS} | NO_BOUNDS
    pattern = re.compile(r"^((?:MAX|LONGEST)\w*|TURN|LONG_TURN|HIGH_WATER|LOW_WATER)\b.* = ", flags=re.M)
    for package in REACHED:
        for path in sorted((ROOT / "broker" / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for constant in pattern.findall(path.read_text(encoding="utf-8")):
                if not module.startswith("broker.plugins.amqtt_streams"):  # its figures are tcp's
                    assert f"{module}.{constant}" in table, "docs/security.md, Every bound"


def test_what_it_says_of_guessing() -> None:
    waits = []
    failed = failures.LoginFailures()
    for _ in range(9):
        waits.append(failed.note("192.0.2.1", 0.0))
    assert waits == [0, 0, 0, 0.5, 1, 2, 4, 8, 8]
    assert (failures.FORGET, failures.MAX_ADDRESSES) == (300, 10_000)
    assert 60 // failures.LONGEST == 7
