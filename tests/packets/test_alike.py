"""Packets that are alike are decoded together: what comes out is what comes of them one by one."""

from __future__ import annotations

from random import Random

import pytest

from pybroker.broker.packets.decoder import FEWEST_ROWS, MOST_ROWS, Decoder
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import Packet, Puback, Publish, PublishRun, Pubrec, Run, singly
from pybroker.broker.packets.properties import Properties

VERSIONS = [4, 5]


def decoded(stream: bytes, version: int, *, runs: bool) -> list[Packet | Run]:
    decoder = Decoder(1 << 20)
    decoder.version, decoder.runs = version, runs
    packets = decoder.feed(stream)
    assert decoder.error is None
    return packets


def check(stream: bytes, version: int) -> list[Packet | Run]:
    """Decode both ways and compare."""
    together = decoded(stream, version, runs=True)
    one_by_one = decoded(stream, version, runs=False)
    assert [*singly(together)] == one_by_one
    wires = [packet.wire for packet in singly(together) if isinstance(packet, Publish)]
    assert wires == [packet.wire for packet in one_by_one if isinstance(packet, Publish)]
    return together


def publish(number: int, version: int, qos: int, *, topic: str = "sensors/7", size: int = 20) -> bytes:
    payload = bytes((number + at) % 256 for at in range(size))
    return make_publish(topic, payload, qos=qos, packet_id=number if qos else 0, version=version).wire


@pytest.mark.parametrize("count", [2, 7, 8, 9, MOST_ROWS, MOST_ROWS + 1, 3 * MOST_ROWS, 300])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_many_of_one_size_are_one_run(version: int, qos: int, count: int) -> None:
    stream = b"".join(publish(number, version, qos) for number in range(1, count + 1))
    [run] = check(stream, version)
    assert isinstance(run, PublishRun)
    size = len(stream) // count
    assert (len(run), run.largest()) == (count, size)
    assert run.size == (size if count >= FEWEST_ROWS else 0)
    if qos:
        renumbered = b"".join(
            publish(number, version, qos)[: run.payload_at]
            + publish(number - 999, version, qos)[run.payload_at :]
            for number in range(1000, 1000 + count)
        )
        assert run.renumbered(1000) == renumbered


@pytest.mark.parametrize("at", [1, 7, 8, 40, MOST_ROWS, MOST_ROWS + 1, 150, 199])
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "other",
    [
        {"topic": "sensors/8"},
        {"topic": "Sensors/7"},
        {"size": 19},
        {"size": 200},
        {"topic": "sensors/70", "size": 19},
    ],
)
def test_another_one_among_them(version: int, qos: int, at: int, other: dict[str, int]) -> None:
    packets = [publish(number, version, qos) for number in range(1, 201)]
    packets[at] = publish(at + 1, version, qos, **other)  # type: ignore[arg-type]
    check(b"".join(packets), version)


@pytest.mark.parametrize("at", [1, 20, MOST_ROWS, 150])
def test_properties_among_them(at: int) -> None:
    packets = [publish(number, 5, 1) for number in range(1, 201)]
    properties = Properties(payload_format_indicator=1)
    size = 18  # as large as the others
    packets[at] = make_publish(
        "sensors/7", bytes(size), qos=1, packet_id=9, version=5, properties=properties
    ).wire
    assert len(packets[at]) == len(packets[0])
    check(b"".join(packets), 5)


@pytest.mark.parametrize("at", [1, 20, MOST_ROWS, 150])
def test_an_identifier_of_zero_ends_the_stream_where_it_is(at: int) -> None:
    packets = [publish(number, 4, 1) for number in range(1, 201)]
    packets[at] = publish(0, 4, 1)
    acknowledgements = [encode(Puback(number), 4) for number in range(1, 201)]
    acknowledgements[at] = b"\x40\x02\x00\x00"
    for stream in (packets, acknowledgements):
        decoder = Decoder(1 << 20)
        decoder.version, decoder.runs = 4, True
        assert len([*singly(decoder.feed(b"".join(stream)))]) == at
        assert decoder.error is not None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("version", VERSIONS)
def test_any_mixture(version: int, seed: int) -> None:
    random = Random(seed)
    packets: list[bytes] = []
    while len(packets) < 500:
        count, qos, size = (
            random.choice([1, 2, 5, 30, 100]),
            random.choice([0, 1, 2]),
            random.choice([0, 20, 300]),
        )
        topic = random.choice(["a", "b", "sensors/7", "t" * 70])
        kind = random.choice([Puback, Pubrec, None, None])
        for _ in range(count):
            number = random.randrange(1, 65_536)
            if kind is None:
                packets.append(publish(number, version, qos, topic=topic, size=size))
            else:
                packets.append(encode(kind(number), version))
    check(b"".join(packets), version)
