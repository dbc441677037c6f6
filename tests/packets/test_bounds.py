"""How much one packet may hold of what costs time for each."""

from __future__ import annotations

import struct
from time import process_time

import pytest

from pybroker.broker.packets.bodies import MAX_FILTERS
from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.primitives import write_variable
from pybroker.broker.packets.properties import MAX_REPEATED
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker

MANY = 1_000_000


def subscribe(count: int) -> bytes:
    return frame(0x82, b"\0\1" + b"\0\1a\0" * count)


def unsubscribe(count: int) -> bytes:
    return frame(0xA2, b"\0\1" + b"\0\1a" * count)


def user_properties(count: int) -> bytes:
    section = b"&\0\0\0\0" * count
    return frame(0x30, b"\0\1t" + write_variable(len(section)) + section)


def subscription_identifiers(count: int) -> bytes:
    section = b"\x0b\1" * count
    return frame(0x30, b"\0\1t" + write_variable(len(section)) + section)


def frame(first: int, body: bytes) -> bytes:
    return struct.pack("B", first) + write_variable(len(body)) + body


BOUNDS = [
    (subscribe, 4, MAX_FILTERS, "filters_per_packet"),
    (unsubscribe, 4, MAX_FILTERS, "filters_per_packet"),
    (user_properties, 5, MAX_REPEATED, "properties_per_packet"),
    (subscription_identifiers, 5, MAX_REPEATED, "properties_per_packet"),
]
bounds = pytest.mark.parametrize(("packet", "version", "bound", "key"), BOUNDS)


@bounds
def test_the_bound_itself(packet, version, bound, key) -> None:  # type: ignore[no-untyped-def]
    decoder = Decoder(10 << 20)
    decoder.version = version
    assert len(decoder.feed(packet(bound))) == 1
    assert decoder.feed(packet(bound + 1)) == []
    assert decoder.error is not None
    assert decoder.error.reason == ReasonCode.QUOTA_EXCEEDED
    assert f"more than {bound:,} " in str(decoder.error)


@bounds
def test_a_packet_far_beyond_it_costs_little(packet, version, bound, key) -> None:  # type: ignore[no-untyped-def]
    client = Broker().connect("c", 5)
    data = packet(MANY) if version == 5 else five(packet)
    began = process_time()
    client.send_bytes(data)
    assert process_time() - began < 0.5
    client.closed(ReasonCode.QUOTA_EXCEEDED)
    assert client.broker.engine.counters.limited == {key: 1}


def five(packet) -> bytes:  # type: ignore[no-untyped-def]
    """The same packet of 5.0, with many filters."""
    if packet is subscribe:
        return frame(0x82, b"\0\1\0" + b"\0\1a\0" * MANY)
    return frame(0xA2, b"\0\1\0" + b"\0\1a" * MANY)
