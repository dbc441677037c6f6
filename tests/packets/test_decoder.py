"""The table of cases, read whole, in pieces and in a row; and what the decoder may cost."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from random import Random
from types import FunctionType

import pytest

from pybroker.broker.packets.decoder import SMALL_PIECE, Decoder
from pybroker.broker.packets.encoder import make_publish
from pybroker.broker.packets.errors import MalformedPacket, ProtocolError
from pybroker.broker.packets.model import Packet, Pingreq, Publish
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.packets.topic_cache import TopicCache

from .cases import BAD, CASES, GOOD, Case, Fault

LARGEST = 268_435_460  # bytes, the fixed header included


def decoder_for(case: Case) -> Decoder:
    decoder = Decoder(LARGEST)
    decoder.version = 0 if case.raw[0] >> 4 == 1 else case.version
    return decoder


def check(case: Case, decoder: Decoder, packets: list[Packet]) -> None:
    if isinstance(case.expected, Fault):
        assert packets == []
        assert decoder.error is not None
        assert decoder.error.reason is case.expected.reason
        assert case.expected.says in str(decoder.error)
        return
    assert decoder.error is None
    assert packets == [case.expected]
    assert decoder.version == case.version
    packet = packets[0]
    assert type(packet) is type(case.expected)
    if isinstance(packet, Publish):
        assert packet.wire == case.raw
        assert packet.version == case.version


def test_cases_have_names_of_their_own() -> None:
    assert len({(case.name, case.version, case.raw[:20]) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_whole(case: Case) -> None:
    decoder = decoder_for(case)
    check(case, decoder, decoder.feed(case.raw))


@pytest.mark.parametrize("case", [case for case in CASES if len(case.raw) < 1000], ids=str)
def test_byte_by_byte(case: Case) -> None:
    decoder = decoder_for(case)
    packets = []
    for index in range(len(case.raw)):
        if packets or (decoder.error and case.good):
            pytest.fail(f"the decoder was done before byte {index}")
        packets += decoder.feed(case.raw[index : index + 1])
    check(case, decoder, packets)


@pytest.mark.parametrize("case", BAD, ids=str)
def test_packets_before_a_bad_one_count(case: Case) -> None:
    decoder = decoder_for(case)
    assert decoder.feed(b"\xc0\x00\xc0\x00" + case.raw + b"\xc0\x00") == [Pingreq(), Pingreq()]
    assert decoder.error is not None
    assert decoder.error.reason is case.expected.reason
    assert decoder.feed(b"\xc0\x00") == []


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("seed", range(5))
def test_stream_in_any_pieces(version: int, seed: int) -> None:
    random = Random(seed)
    cases = [case for case in GOOD if case.version == version and len(case.raw) < 30_000]
    # 3.1.1 tolerates it before CONNECT has said 5.0 only
    cases = [case for case in cases if not (version == 5 and not case.canonical and case.raw[0] == 0x10)]
    random.shuffle(cases)
    stream = b"".join(case.raw for case in cases)
    cuts = sorted(random.choices(range(len(stream) + 1), k=random.choice((3, 100, 2000))))
    decoder = Decoder(LARGEST)
    decoder.version = version
    packets = []
    for start, stop in pairwise([0, *cuts, len(stream)]):
        packets += decoder.feed(stream[start:stop])
    assert decoder.error is None
    assert packets == [case.expected for case in cases]


def test_nothing_is_no_packet() -> None:
    decoder = Decoder(100)
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\xc0") == []
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\x00") == [Pingreq()]


def test_version_is_known_though_the_rest_of_connect_is_wrong() -> None:
    decoder = Decoder(100)
    decoder.feed(b"\x10\x0f\0\4MQTT\5\x03\x00\x3c\0\x00\x02c1")
    assert isinstance(decoder.error, MalformedPacket)
    assert decoder.version == 5  # so that CONNACK can be written


def test_version_stays_unknown_for_another_protocol() -> None:
    decoder = Decoder(100)
    decoder.feed(b"\x10\x0e\0\4MQTT\6\x02\x00\x3c\x00\x02c1")
    assert isinstance(decoder.error, ProtocolError)
    assert decoder.version == 0


def test_version_of_connect_holds_for_what_follows_it() -> None:
    decoder = Decoder(100)
    packets = decoder.feed(b"\x10\x0f\0\4MQTT\5\x02\x00\x3c\0\x00\x02c1\x30\x08\x00\x03a/b\x00hi")
    assert isinstance(packets[1], Publish)
    assert packets[1].version == 5
    assert packets[1].payload == b"hi"


@pytest.mark.parametrize("size", [2, 127, 128, 129, 200, 16_383, 16_384, 70_000])
def test_largest_packet_is_read_and_one_byte_more_is_refused(size: int) -> None:
    raw = b"\x30\x05\x00\x03a/b" if size < 100 else _publish_of(size)
    size = len(raw)
    decoder = Decoder(size)
    assert len(decoder.feed(raw)) == 1
    assert decoder.error is None

    decoder = Decoder(size - 1)
    assert decoder.feed(raw[:5]) == []  # the header is enough to know
    assert decoder.error is not None
    assert decoder.error.reason is ReasonCode.PACKET_TOO_LARGE
    assert f"{size:,}" in str(decoder.error)


@pytest.mark.parametrize("first", [b"\x10", b"\x30"])
def test_before_connect_no_large_packet_is_waited_for(first: bytes) -> None:
    decoder = Decoder(LARGEST, max_first=1000)
    decoder.feed(first + b"\xe5\x07")  # 997 bytes follow
    assert decoder.error is None
    decoder = Decoder(LARGEST, max_first=1000)
    decoder.feed(first + b"\xe6\x07")
    assert decoder.error is not None
    assert decoder.error.reason is ReasonCode.PACKET_TOO_LARGE


def test_after_connect_a_large_packet_may_follow_at_once() -> None:
    decoder = Decoder(LARGEST, max_first=1000)
    large = _publish_of(1 << 20)
    packets = decoder.feed(b"\x10\x0e\0\4MQTT\4\2\0\x3c\0\2c1" + large[:100])
    packets += decoder.feed(large[100:])
    assert decoder.error is None
    assert len(packets) == 2


def _publish_of(size: int) -> bytes:
    for header in (2, 3, 4):
        length = size - header
        encoded = b""
        while True:
            length, low = divmod(length, 128)
            encoded += bytes((low | (0x80 if length else 0),))
            if not length:
                break
        if len(encoded) == header - 1:
            return b"\x30" + encoded + b"\x00\x01a" + bytes(size - header - 3)
    raise AssertionError(size)


def test_promised_bytes_take_no_memory() -> None:
    decoder = Decoder(LARGEST)
    tracemalloc.start()
    try:
        decoder.feed(b"\x30\xff\xff\xff\x7f")
        assert tracemalloc.get_traced_memory()[1] < 100_000
        for _ in range(1000):
            decoder.feed(bytes(1000))
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
    assert decoder.error is None


@pytest.mark.parametrize("piece", [2, 100, SMALL_PIECE - 1, SMALL_PIECE, 100_000])
def test_a_packet_in_pieces_takes_little_more_memory_than_its_bytes(piece: int) -> None:
    decoder, stream = Decoder(LARGEST), make_publish("a", bytes(1 << 20), version=4).wire
    decoder.version = 4
    start, last = stream[:-1], stream[-1:]
    tracemalloc.start()
    try:
        for at in range(0, len(start), piece):
            assert decoder.feed(start[at : at + piece]) == []
        assert tracemalloc.get_traced_memory()[0] < 1.3 * len(stream)
    finally:
        tracemalloc.stop()
    [publish] = decoder.feed(last)
    assert isinstance(publish, Publish)
    assert publish.wire == stream


def looked_at(monkeypatch: pytest.MonkeyPatch, stream: bytes, piece: int) -> int:
    """How many bytes the decoder looks at, those it looks at again included."""
    count = 0
    decode = Decoder._decode

    def counted(self: Decoder, data: bytes, pos: int, packets: list[Packet]) -> int:
        nonlocal count
        count += len(data) - pos
        return decode(self, data, pos, packets)

    monkeypatch.setattr(Decoder, "_decode", counted)
    decoder = Decoder(LARGEST)
    decoder.version = 4
    for start in range(0, len(stream), piece):
        decoder.feed(stream[start : start + piece])
    assert decoder.error is None
    return count


@pytest.mark.skipif(
    not isinstance(Decoder._decode, FunctionType), reason="a compiled decoder cannot be looked into"
)
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100, 1460])
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"\xc0\x00" * 30_000, id="tiny packets"),
        pytest.param(b"\x30\x07\x00\x03a/bhi" * 10_000, id="small packets"),
        pytest.param(_publish_of(100_000), id="one big packet"),
        pytest.param((_publish_of(20_000) + b"\xc0\x00") * 5, id="big and tiny packets"),
    ],
)
def test_work_grows_with_the_bytes_and_no_faster(
    monkeypatch: pytest.MonkeyPatch, stream: bytes, piece: int
) -> None:
    assert looked_at(monkeypatch, stream, piece) <= 3 * len(stream)


def test_topics_are_shared() -> None:
    topics = TopicCache()
    first, second = Decoder(100, topics), Decoder(100, topics)
    one = first.feed(b"\x30\x05\x00\x03a/b")[0]
    two = second.feed(b"\x32\x07\x00\x03a/b\x00\x01")[0]
    assert isinstance(one, Publish)
    assert isinstance(two, Publish)
    assert one.topic is two.topic


def test_topics_are_bounded() -> None:
    topics = TopicCache(limit=10)
    decoder = Decoder(100_000, topics)
    for number in range(1000):
        packet = decoder.feed(b"\x30\x05\x00\x03%03d" % number)[0]
        assert isinstance(packet, Publish)
        assert packet.topic == f"{number:03d}"
        assert 0 < len(topics.names) <= 10
    long = b"x" * 60_000
    decoder.feed(b"\x30" + b"\xe2\xd4\x03" + b"\xea\x60" + long)
    assert decoder.error is None
    assert long not in topics.names


def test_bad_topics_are_not_kept() -> None:
    topics = TopicCache()
    for _ in range(2):
        decoder = Decoder(100, topics)
        decoder.feed(b"\x30\x05\x00\x03a/#")
        assert decoder.error is not None
    assert topics.names == {}
