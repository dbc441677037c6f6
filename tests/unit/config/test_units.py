"""Each way of writing a value, row by row."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker.broker.config import units
from pybroker.broker.config.units import Address, Kind, UnfitError


def refuses(kind: Kind, text: str) -> bool:
    try:
        kind.parse(text)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("1k", 1024),
        ("1K", 1024),
        ("64KB", 65536),
        ("64kb", 65536),
        ("10M", 10 << 20),
        ("10MB", 10 << 20),
        ("10 mb", 10 << 20),
        ("256Mb", 256 << 20),
        ("1.5K", 1536),
        ("2G", 2 << 30),
        ("2gB", 2 << 30),
    ],
)
def test_size(text: str, value: int) -> None:
    assert units.size().parse(text) == value


@pytest.mark.parametrize(
    "text", ["", "MB", "-1", "+1", "1TB", "1 0", "0.3B", "1e3", "10MX", "\u0661", "1.5", "9" * 5000]
)
def test_no_size(text: str) -> None:
    assert refuses(units.size(), text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("10", 10.0),
        ("0.5", 0.5),
        ("500ms", 0.5),
        ("500MS", 0.5),
        ("10s", 10.0),
        ("10 s", 10.0),
        ("10S", 10.0),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("7d", 604800.0),
        ("1.5h", 5400.0),
    ],
)
def test_time(text: str, value: float) -> None:
    assert units.time().parse(text) == value


@pytest.mark.parametrize("text", ["", "s", "10sec", "-1s", "1us", "1s2", "ten", "never", "1e3", "inf", "nan"])
def test_no_time(text: str) -> None:
    assert refuses(units.time(), text)


def test_a_bare_number_of_milliseconds() -> None:
    kind = units.time(bare="ms")
    assert (kind.parse("5000"), kind.parse("5s"), kind.parse("250ms"), kind.parse("1m")) == (
        5.0,
        5.0,
        0.25,
        60.0,
    )


def test_a_time_without_end() -> None:
    kind = units.time(never=True)
    assert kind.parse("never") == kind.parse("Never") == units.NEVER
    assert kind.parse("1d") == 86400


@given(st.integers(0, 2**53), st.sampled_from([("", 1), ("KB", 1 << 10), ("mb", 1 << 20), ("G", 1 << 30)]))
def test_any_size_is_exact(count: int, unit: tuple[str, int]) -> None:
    assert units.size().parse(f"{count}{unit[0]}") == count * unit[1]


@given(st.integers(0, 10**9))
def test_milliseconds_are_the_nearest_float(count: int) -> None:
    assert units.time().parse(f"{count}ms") == count / 1000 == units.time(bare="ms").parse(str(count))


@given(st.text(max_size=40))
def test_nothing_but_a_value_error(text: str) -> None:
    kinds = [
        units.size(1, 10),
        units.time(0, 10),
        units.time(never=True, bare="ms"),
        units.whole(0, 5),
        units.number(),
        units.flag(),
        units.choice("a", "b"),
        units.text(),
        units.url(),
        units.topic_filter(),
        units.acl_topic(),
        units.function(),
        units.signing_secret(),
        units.bind(1883),
        units.bind(8083, path="/mqtt"),
    ]
    for kind in kinds:
        with contextlib.suppress(ValueError):
            kind.parse(text)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, None, ""),
        (16, 260 << 20, ", 16B to 260MB"),
        (1, None, ", at least 1B"),
        (0, 1 << 30, ", 0 to 1GB"),
    ],
)
def test_the_bounds_of_a_size_are_told(low: int, high: int | None, words: str) -> None:
    kind = units.size(low, high)
    assert kind.allowed == "a size such as 512, 64KB or 10MB" + words
    for value in (low - 1, (high or low) + 1):
        if value < low or (high is not None and value > high):
            assert refuses(kind, str(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("on", True),
        ("off", False),
        ("yes", True),
        ("no", False),
        ("1", True),
        ("0", False),
    ],
)
def test_flag(text: str, value: bool) -> None:
    assert units.flag().parse(text) is value


@pytest.mark.parametrize("text", ["", "2", "tru", "enabled"])
def test_no_flag(text: str) -> None:
    assert refuses(units.flag(), text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:1883", Address("0.0.0.0", 1883)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("localhost:1884", Address("localhost", 1884)),
        ("my-host.example.org:1", Address("my-host.example.org", 1)),
        ("host", Address("host", 1883)),
        (":1885", Address("0.0.0.0", 1885)),
        ("1886", Address("127.0.0.1", 1886)),
        ("[::]:1883", Address("::", 1883)),
        ("[::1]", Address("::1", 1883)),
        ("[fe80::1%eth0]:9", Address("fe80::1%eth0", 9)),
    ],
)
def test_address(text: str, address: Address) -> None:
    assert units.bind(1883).parse(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "::1:1883", "host:", "host:port", "a b:1", "host:1:2", "127.0.0.1:1883/mqtt", "-1", ":", "/x"],
)
def test_no_address(text: str) -> None:
    assert refuses(units.bind(1883), text)


def test_a_port_too_large_is_named() -> None:
    with pytest.raises(UnfitError, match="65536 is no port; ports are 0 to 65535"):
        units.bind(1883).parse("127.0.0.1:65536")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8083/mqtt", Address("0.0.0.0", 8083, "/mqtt")),
        ("0.0.0.0:8083", Address("0.0.0.0", 8083, "")),
        (":9001/", Address("0.0.0.0", 9001, "/")),
        ("9001/a/b", Address("127.0.0.1", 9001, "/a/b")),
        ("[::1]:9001/ws", Address("::1", 9001, "/ws")),
    ],
)
def test_address_with_a_path(text: str, address: Address) -> None:
    assert units.bind(8083, path="/mqtt").parse(text) == address


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:8888/hook", "https://example.org", "http://u:p@[::1]:1/x?y=z"]
)
def test_url(text: str) -> None:
    assert units.url().parse(text) == text


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1:80", "ftp://x", "http://", "http:///x", "http://x:port/", "http://a b/"]
)
def test_no_url(text: str) -> None:
    assert refuses(units.url(), text)


@pytest.mark.parametrize(
    "text", ["a/b", "a/#", "#", "+/b", "$SYS/#", "/", "@a/+", "t/${clientid}", "${username}/#", "@x"]
)
def test_topic_of_an_access_rule(text: str) -> None:
    assert units.acl_topic().parse(text) == text


@pytest.mark.parametrize("text", ["", "a/#/b", "a+", "@", "x${clientid}/#/y"])
def test_no_topic_of_an_access_rule(text: str) -> None:
    assert refuses(units.acl_topic(), text)


@pytest.mark.parametrize("text", ["package.module:function", "m:f", "a.b.c:C.method", "_a:_b"])
def test_function(text: str) -> None:
    assert units.function().parse(text) == text


@pytest.mark.parametrize("text", ["", "module", "module:", ":f", "a b:f", "a..b:f", "1a:f", "m:f()"])
def test_no_function(text: str) -> None:
    assert refuses(units.function(), text)


def test_signing_secret() -> None:
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
    assert units.signing_secret().parse(secret) == secret
    for wrong in ("", "whsec_", "whsec_%%%", secret.removeprefix("whsec_"), "whsec_abc"):
        assert refuses(units.signing_secret(), wrong)
