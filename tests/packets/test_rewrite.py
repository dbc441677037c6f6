"""A run of PUBLISH with another topic is what its messages would be one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.encoder import make_publish
from pybroker.broker.packets.model import PublishRun
from pybroker.broker.packets.packet_type import PacketType
from pybroker.broker.packets.properties import Properties, encode_properties
from pybroker.broker.packets.rewrite import rewritten, with_topic

SIZES = st.lists(st.integers(0, 100), min_size=2, max_size=20)
TOPICS = st.sampled_from(["t", "another/topic", "x" * 60, "x" * 300])
SECTION = Properties(user_properties=(("bridge-path", "me"),))


def run_of(version: int, qos: int, sizes: list[int]) -> PublishRun:
    wires = [
        make_publish("a/b", bytes(size), qos=qos, packet_id=n if qos else 0, version=version).wire
        for n, size in enumerate(sizes, 1)
    ]
    decoder = Decoder(1 << 20)
    decoder.version, decoder.runs = version, True
    (run,) = decoder.feed(b"".join(wires))
    assert isinstance(run, PublishRun)
    return run


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@settings(max_examples=30)
@given(sizes=SIZES, topic=TOPICS, has_path=st.booleans())
def test_the_bytes(version: int, qos: int, sizes: list[int], topic: str, has_path: bool) -> None:
    run = run_of(version, qos, sizes)
    properties = SECTION if has_path and version == 5 else None
    section = encode_properties(properties, PacketType.PUBLISH) if properties else b""
    assert rewritten(run, topic, section) == b"".join(
        make_publish(
            topic, one.payload, qos=qos, packet_id=one.packet_id, properties=properties, version=version
        ).wire
        for one in run
    )


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1])
@settings(max_examples=30)
@given(sizes=SIZES, topic=TOPICS)
def test_the_run(version: int, qos: int, sizes: list[int], topic: str) -> None:
    run = run_of(version, qos, sizes)
    again = with_topic(run, topic)
    if again is None:
        lengths = [len(rewritten(one_run, topic)) for one_run in (run.cut(n, n + 1) for n in range(len(run)))]
        assert min(lengths) < 130 <= max(lengths)
        return
    assert [one.payload for one in again] == [one.payload for one in run]
    assert [one.packet_id for one in again] == [one.packet_id for one in run]
    assert {one.topic for one in again} == {topic}
    assert again.wire == rewritten(run, topic)
