"""The formats of `pybroker sub -F`, beside mosquitto_sub where it is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from datetime import datetime

import pytest

from pybroker.broker.commands import sub_format
from pybroker.broker.commands.sub_format import Format
from pybroker.broker.packets.encoder import make_publish
from pybroker.broker.packets.model import Publish
from pybroker.broker.packets.properties import Properties
from pybroker.testing import TestBroker
from tests.waiting import DEADLINE

NOW = 1_470_818_943_786_368_637
PROPERTIES = Properties(
    payload_format_indicator=1,
    message_expiry_interval=60,
    content_type="text/plain",
    response_topic="answer/here",
    correlation_data=b"\x01\xff",
    user_properties=(("unit", "K"), ("room", "7")),
)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-1")
    time.tzset()
    monkeypatch.setattr(sub_format.time, "time_ns", lambda: NOW)
    yield
    monkeypatch.undo()
    time.tzset()


def message(payload: bytes = b"21.5", **given: object) -> Publish:
    return make_publish("room/1", payload, qos=1, packet_id=7, **given)


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("%t %p", b"room/1 21.5"),
        ("%q %r %l %m", b"1 0 4 7"),
        ("%x %X", b"32312e35 32312E35"),
        ("100%%", b"100%"),
        (r"\0\a\e\n\r\t\v\\", b"\0\a\033\n\r\t\v\\"),
        ("%I", b"2016-08-10T09:49:03+0100"),
        ("%U", b"1470818943.786368637"),
        ("@Y-@m-@d @H:@M:@S.@N @@", b"2016-08-10 09:49:03.786368637 @"),
        ("[%10t][%-10t][%.4t][%6.4t]", b"[    room/1][room/1    ][room][  room]"),
        ("[%05l][%-5l][%5l]", b"[00004][4    ][    4]"),
        ("[%6p][%2p][%-6p]", b"[  21.5][21][21.5  ]"),
        ("[%C][%E][%F][%R][%S][%P][%D][%A]", b"[][][][][][][][]"),
        ("[%4E][%04E]", b"[    ][0000]"),
        ("", b""),
        ("é%t", "éroom/1".encode()),
    ],
)
def test_what_a_format_prints(form: str, line: bytes) -> None:
    assert Format(form).line(message()) == line


def test_the_properties() -> None:
    form = Format("%C|%E|%F|%R|%P|%D")
    expected = b"text/plain|60|1|answer/here|unit:K room:7|\x01\xff"
    assert form.line(message(properties=PROPERTIES)) == expected


def test_json() -> None:
    assert json.loads(Format("%j").line(message(properties=PROPERTIES))) == {
        "tst": "2016-08-10T09:49:03.786368+0100",
        "topic": "room/1",
        "qos": 1,
        "retain": 0,
        "payloadlen": 4,
        "mid": 7,
        "properties": {
            "payload-format-indicator": 1,
            "message-expiry-interval": 60,
            "content-type": "text/plain",
            "response-topic": "answer/here",
            "correlation-data": "\x01\ufffd",
            "user-properties": {"unit": "K", "room": "7"},
        },
        "payload": "21.5",
    }


@pytest.mark.parametrize(
    ("letter", "payload", "found"),
    [
        ("j", b"", None),
        ("j", b"\xff\0", [255, 0]),
        ("j", b'{"a": 1}', '{"a": 1}'),
        ("J", b'{"a": 1}', {"a": 1}),
        ("J", b"", None),
    ],
)
def test_payloads_in_json(letter: str, payload: bytes, found: object) -> None:
    assert json.loads(Format(f"%{letter}").line(message(payload)))["payload"] == found


@pytest.mark.parametrize("payload", [b"no json", b"\xff", b"[" * 100_000])
def test_a_payload_that_is_not_json_is_told(payload: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert Format("%t %J").line(message(payload)) == b"room/1 "
    assert capsys.readouterr().err == "pybroker: the payload on topic room/1 is not JSON\n"


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("%y", "%y is not known; known are %A %C"),
        ("%", "% at the end begins nothing; write %% for the character"),
        ("a\\", "\\ at the end begins nothing"),
        ("\\q", "\\q is not known; known are \\\\ \\0 \\a"),
        ("%5", "%5 is not known"),
        ("%99999t", "is wider than 10000 characters"),
    ],
)
def test_a_format_that_cannot_be_used(form: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        Format(form)


@pytest.mark.skipif(not shutil.which("mosquitto_sub"), reason="mosquitto_sub is not installed")
@pytest.mark.parametrize(
    "form",
    [
        "%t|%p|%q|%r|%l|%x|%X|%%",
        "[%12t][%-12t][%.3t][%8.3t]",
        "[%05l][%-5l][%6l]",
        "[%C][%R][%E][%F][%P][%20C][%-20C]",
        r"a\tb\\c\e@@",
        "[%6p][%-6p]",
    ],
)
def test_mosquitto_sub_prints_the_same(mqtt_broker: TestBroker, form: str) -> None:
    words = ["-h", mqtt_broker.host, "-p", str(mqtt_broker.port), "-V", "5", "-t", "room/1", "-C", "1"]
    properties = Properties(content_type="text/plain", user_properties=(("unit", "K"), ("room", "7")))
    mqtt_broker.publish("room/1", "21.5", retain=True, properties=properties)
    done = subprocess.run(
        ["mosquitto_sub", *words, "-F", form], capture_output=True, timeout=DEADLINE, check=True
    )
    packet = make_publish("room/1", b"21.5", retain=True, properties=properties)
    assert Format(form).line(packet) + b"\n" == done.stdout


def test_the_time_is_that_of_the_place_where_it_runs() -> None:
    told = Format("%I").line(message()).decode()
    assert datetime.strptime(told, "%Y-%m-%dT%H:%M:%S%z").timestamp() == NOW // 1_000_000_000
