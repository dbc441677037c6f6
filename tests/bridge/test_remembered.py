"""What a bridge knows of its remote broker after this broker was started anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pybroker.broker.bridge.remembered import FILE, MOST_FILTERS, Remembered
from pybroker.testing import TestBroker

from .support import bridge, comes, subscription, url, wait_until
from .test_bridge import subscribed_at


def test_filters_taken_out_while_the_broker_was_down_are_unsubscribed(tmp_path: Path) -> None:
    names = []
    with TestBroker() as remote:
        for filters in (["a/#", "b/#"], ["a/#", "c/#"]):
            text = bridge(url(remote), subscription(*map(comes, filters)))
            with TestBroker(conf_text=text, state=tmp_path) as broker:
                wait_until(lambda wanted=filters: subscribed_at(remote) == wanted, "these are there")
                names.append(broker.running.app.bridges.all["up"].broker_id)
    assert names[0] == names[1]


def test_a_bridge_that_was_removed_while_the_broker_was_down_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with TestBroker() as remote:
        text = bridge(url(remote), subscription(comes("a/#")))
        with TestBroker(conf_text=text, state=tmp_path):
            wait_until(lambda: subscribed_at(remote) == ["a/#"], "the bridge is there")
        with TestBroker(state=tmp_path):
            assert f"bridge up is no longer configured: its session at {url(remote)}" in caplog.text


def test_the_file_is_read_again(tmp_path: Path) -> None:
    before = Remembered()
    before.open(tmp_path, ["up"])
    before.of("up", "edge", "mqtt-tcp://x").add("a/#")
    before.save()
    after = Remembered()
    after.open(tmp_path, ["up"])
    assert after.broker_id == before.broker_id
    assert after.of("up", "edge", "mqtt-tcp://x") == {"a/#"}
    assert after.of("up", "edge", "mqtt-tcp://y") == set()
    assert after.of("up", "other", "mqtt-tcp://x") == set()
    after.forget("up", "edge")
    assert after.servers_of("up") == {"mqtt-tcp://x"}, "that is of another client identifier"
    after.forget("up", "other")
    again = Remembered()
    again.open(tmp_path, ["up"])
    assert again.of("up", "edge", "mqtt-tcp://x") == set()


def test_a_session_of_a_bridge_that_is_gone_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = Remembered()
    before.open(tmp_path, ["up"])
    before.of("up", "edge", "mqtt-tcp://x").add("a/#")
    before.save()
    Remembered().open(tmp_path, [])
    (line,) = [one.getMessage() for one in caplog.records]
    assert line == (
        "bridge up is no longer configured: its session at mqtt-tcp://x, with the client identifier edge,"
        " may still be there"
    )


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"broker": 7, "bridges": {}}', '{"broker": "00000000"}', "\0"]
)
def test_a_file_that_is_damaged_is_written_anew(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(text)
    remembered = Remembered()
    remembered.open(tmp_path, [])
    assert "cannot be used and is written anew" in caplog.text
    assert json.loads((tmp_path / FILE).read_text())["broker"] == remembered.broker_id


def test_very_many_filters_are_not_written(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.open(tmp_path, ["up"])
    remembered.of("up", "edge", "mqtt-tcp://x").update(map(str, range(MOST_FILTERS + 1)))
    remembered.save()
    assert (tmp_path / FILE).stat().st_size < 1000
