"""Packets nobody thought of: what is written is read again, and what is wrong ends in one clear error."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.encoder import encode, make_publish, publish_shape
from pybroker.broker.packets.errors import ProtocolError
from pybroker.broker.packets.model import Connect, Packet, Publish, singly
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode

from .cases import CASES
from .strategies import VERSIONS, connects, packets, publishes, qos_levels, versions

EXAMPLES = [case for case in CASES if len(case.raw) < 1000]

pieces = st.lists(st.integers(0, 100), max_size=10)


def read(
    stream: bytes, version: int, cuts: list[int], *, runs: bool = False, largest: int = 100_000
) -> tuple[list[Packet], Decoder]:
    """Feed ``stream`` in the pieces that ``cuts`` (in percent) make of it."""
    decoder = Decoder(largest)
    decoder.version = version
    decoder.runs = runs
    decoded = []
    edges = [0, *sorted(len(stream) * cut // 100 for cut in cuts), len(stream)]
    for start, stop in pairwise(edges):
        decoded += singly(decoder.feed(stream[start:stop]))
    return decoded, decoder


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_written_is_read_again(version: int) -> None:
    @given(packet=packets(version) | connects(version))
    def check(packet: Packet) -> None:
        decoded, decoder = read(encode(packet, version), version, [])
        assert decoder.error is None
        assert decoded == [packet]

    check()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_is_read_in_any_pieces(version: int) -> None:
    @given(connect=connects(version), rest=st.lists(packets(version), max_size=10), cuts=pieces)
    def check(connect: Connect, rest: list[Packet], cuts: list[int]) -> None:
        sent = [connect, *rest]
        decoded, decoder = read(b"".join(encode(packet, version) for packet in sent), 0, cuts)
        assert decoder.error is None
        assert decoded == sent

    check()


@pytest.mark.parametrize("version", VERSIONS)
def test_runs_are_the_same_packets(version: int) -> None:
    """However alike they are, wherever the stream is cut, damaged or too long."""
    messages = st.builds(
        lambda topic, payload, qos, packet_id, properties: encode(
            make_publish(
                topic,
                payload,
                qos=qos,
                packet_id=packet_id,
                properties=Properties(content_type="") if properties and version == 5 else None,
                version=version,
            ),
            version,
        ),
        st.sampled_from(["a", "aa", "b"]),
        st.sampled_from([0, 1, 120, 125, 130, 300]).map(bytes),
        qos_levels,
        st.integers(0, 3),
        st.booleans(),
    )
    acknowledgements = st.sampled_from([0x40, 0x50, 0x62, 0x70]).flatmap(
        lambda first: st.integers(0, 3).map(lambda id: bytes((first, 2, 0, id)))
    )
    alike = messages | acknowledgements

    @given(
        stream=st.lists(
            st.lists(alike, min_size=1, max_size=2).map(lambda some: b"".join(some * 3)), max_size=5
        ),
        damage=st.none() | st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=2)),
        largest=st.sampled_from([60, 128, 129, 132, 1000]),
        cuts=pieces,
    )
    def check(stream: list[bytes], damage: tuple[int, bytes] | None, largest: int, cuts: list[int]) -> None:
        whole = b"".join(stream)
        if damage is not None:
            at, by = damage
            whole = whole[:at] + by + whole[at + len(by) :]
        one_by_one, expected = read(whole, version, cuts, largest=largest)
        in_runs, decoder = read(whole, version, cuts, runs=True, largest=largest)
        assert in_runs == one_by_one
        assert [p.wire for p in in_runs if isinstance(p, Publish)] == [
            p.wire for p in one_by_one if isinstance(p, Publish)
        ]
        assert str(decoder.error) == str(expected.error)

    check()


@given(
    data=st.data(),
    came=versions,
    goes=versions,
    qos=qos_levels,
    retain=st.booleans(),
    identifiers=st.lists(st.integers(1, 268_435_455), max_size=2),
)
def test_a_message_survives_any_shape(
    data: st.DataObject, came: int, goes: int, qos: int, retain: bool, identifiers: list[int]
) -> None:
    publish = data.draw(publishes(came))
    head, tail = publish_shape(publish, goes, qos, retain, identifiers)
    [packet], decoder = read(head + b"\x12\x34" + tail if qos else head + tail, goes, [])
    assert decoder.error is None
    assert isinstance(packet, Publish)
    assert (packet.topic, packet.payload, packet.dup) == (publish.topic, publish.payload, False)
    assert (packet.qos, packet.retain, packet.packet_id) == (qos, retain, 0x1234 if qos else 0)
    if goes == 5 and identifiers:
        assert packet.properties is not None
        assert packet.properties.subscription_identifiers == tuple(identifiers)
    if packet.properties is not None:
        assert packet.properties.topic_alias is None


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, int]:
    """Packets of the table, whole and wrong ones, with some bytes changed, cut out or put in."""
    chosen = draw(st.lists(st.sampled_from(EXAMPLES), min_size=1, max_size=4))
    raw = bytearray(b"".join(case.raw for case in chosen))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        match draw(st.sampled_from(("change", "cut", "insert"))):
            case "change" if at < len(raw):
                raw[at] = draw(st.integers(0, 255))
            case "cut":
                del raw[at : at + draw(st.integers(1, 5))]
            case _:
                raw[at:at] = draw(st.binary(min_size=1, max_size=5))
    return bytes(raw), draw(st.sampled_from((0, chosen[0].version)))


def check_any_bytes(raw: bytes, version: int, cuts: list[int]) -> None:
    whole, decoder = read(raw, version, [])
    if decoder.error is not None:
        assert isinstance(decoder.error, ProtocolError)
        assert decoder.error.reason in ReasonCode
        assert decoder.error.reason >= 0x80
        assert len(str(decoder.error)) < 1000 + len(raw) * 10

    in_pieces, again = read(raw, version, cuts)
    assert in_pieces == whole
    assert again.version == decoder.version
    assert str(again.error) == str(decoder.error)


def check_accepted_is_written_again(raw: bytes, version: int) -> None:
    """Whatever is accepted can be said again in the decoder's own words, and means the same."""
    accepted, decoder = read(raw, version, [])
    if any(isinstance(packet, Connect) for packet in accepted) or version == 0:
        return  # CONNECT may change the version on the way
    assert decoder.version == version or decoder.error
    for packet in accepted:
        decoded, again = read(encode(packet, version), version, [])
        assert again.error is None
        assert decoded == [packet]


@given(example=damaged(), cuts=pieces)
def test_damaged_packets(example: tuple[bytes, int], cuts: list[int]) -> None:
    raw, version = example
    check_any_bytes(raw, version, cuts)
    check_accepted_is_written_again(raw, version)


@given(raw=st.binary(max_size=200), version=st.sampled_from((0, 3, 4, 5)), cuts=pieces)
def test_any_bytes(raw: bytes, version: int, cuts: list[int]) -> None:
    check_any_bytes(raw, version, cuts)
    check_accepted_is_written_again(raw, version)


@given(
    first=st.integers(0x10, 0xFF),
    body=st.binary(max_size=60),
    version=st.sampled_from((0, 3, 4, 5)),
    cuts=pieces,
)
def test_any_body(first: int, body: bytes, version: int, cuts: list[int]) -> None:
    """A true length, so that the bodies' readers see bytes nobody chose for them."""
    raw = bytes((first, len(body))) + body
    check_any_bytes(raw, version, cuts)
    check_accepted_is_written_again(raw, version)
