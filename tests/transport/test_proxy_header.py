"""The PROXY header, byte by byte."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker.broker.transport.proxy_protocol import V2_SIGNATURE, Header, ProxyHeaderError, parse


def v1(text: str) -> bytes:
    return f"PROXY {text}\r\n".encode()


def v2(
    host: str = "203.0.113.7",
    port: int = 4711,
    *,
    command: int = 1,
    family: int | None = None,
    more: bytes = b"",
) -> bytes:
    address = ipaddress.ip_address(host)
    proxy = ipaddress.ip_address("192.0.2.1") if address.version == 4 else ipaddress.ip_address("2001:db8::1")
    body = address.packed + proxy.packed + struct.pack("!HH", port, 1883) + more
    kind = (0x11 if address.version == 4 else 0x21) if family is None else family
    return V2_SIGNATURE + struct.pack("!BBH", 0x20 | command, kind, len(body)) + body


GOOD = [
    pytest.param(v1("TCP4 203.0.113.7 192.0.2.1 4711 1883"), "203.0.113.7:4711", id="v1 IPv4"),
    pytest.param(v1("TCP6 2001:db8::7 2001:db8::1 4711 1883"), "[2001:db8::7]:4711", id="v1 IPv6"),
    pytest.param(v1("UNKNOWN"), None, id="v1 unknown"),
    pytest.param(v1("UNKNOWN ffff::1 ffff::2 65535 65535"), None, id="v1 unknown with addresses"),
    pytest.param(v2(), "203.0.113.7:4711", id="v2 IPv4"),
    pytest.param(v2("2001:db8::7"), "[2001:db8::7]:4711", id="v2 IPv6"),
    pytest.param(v2(more=b"\x03\x00\x04\xde\xad\xbe\xef"), "203.0.113.7:4711", id="v2 with extensions"),
    pytest.param(v2(more=bytes(2000)), "203.0.113.7:4711", id="v2, long"),
    pytest.param(v2(command=0), None, id="v2 local"),
    pytest.param(V2_SIGNATURE + b"\x20\x00\x00\x00", None, id="v2 local without addresses"),
    pytest.param(v2(family=0), None, id="v2 unspecified"),
    pytest.param(v2(family=0x31), None, id="v2 unix"),
    pytest.param(v2(family=0x12), None, id="v2 UDP"),
]


@pytest.mark.parametrize(("header", "peer"), GOOD)
def test_a_header_is_read_and_nothing_after_it(header: bytes, peer: str | None) -> None:
    assert parse(header) == Header(len(header), peer)
    assert parse(header + b"\x10\x0c\x00\x04MQTT") == Header(len(header), peer)
    for end in range(len(header)):
        assert parse(header[:end]) is None


@pytest.mark.parametrize(
    "header",
    [
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXZ",
        b"PROXY\r\n",
        V2_SIGNATURE[:-1] + b"\r",
        v1("TCP4 203.0.113.7 192.0.2.1 4711"),
        v1("TCP4 203.0.113.7 192.0.2.1 4711 1883 1"),
        v1("TCP4 2001:db8::7 2001:db8::1 4711 1883"),
        v1("TCP6 203.0.113.7 192.0.2.1 4711 1883"),
        v1("TCP4 203.0.113.700 192.0.2.1 4711 1883"),
        v1("TCP4 example.org 192.0.2.1 4711 1883"),
        v1("TCP4 203.0.113.7 192.0.2.1 65536 1883"),
        v1("TCP4 203.0.113.7 192.0.2.1 -1 1883"),
        v1("TCP4 203.0.113.7 192.0.2.1 ² 1883"),
        v1("UDP4 203.0.113.7 192.0.2.1 4711 1883"),
        v1(""),
        v1("TCP4  203.0.113.7 192.0.2.1 4711 1883"),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883\n\n",
        b"PROXY UNKNOWN " + b"x" * 100,
        V2_SIGNATURE + b"\x10\x11\x00\x00",
        V2_SIGNATURE + b"\x22\x11\x00\x00",
        V2_SIGNATURE + b"\x21\x11\x00\x04\x00\x00\x00\x00",
        V2_SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12),
    ],
)
def test_garbage_is_refused(header: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parse(header)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_not_yet_or_refused(data: bytes) -> None:
    for start in (b"", b"PROXY ", b"PROXY TCP4 ", V2_SIGNATURE, V2_SIGNATURE + b"\x21\x11"):
        try:
            header = parse(start + data)
        except ProxyHeaderError:
            continue
        assert header is None or 0 < header.length <= len(start + data)
