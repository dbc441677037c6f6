"""The table of what NanoMQ's mapping was seen to do, and what it gets wrong."""

from __future__ import annotations

import pytest

from pybroker.broker.bridge.mapping import Mapping, MappingError
from pybroker.broker.routing.topics import matches


@pytest.mark.parametrize(
    ("source", "target", "prefix", "suffix", "topic", "arrives"),
    [
        ("same/#", "", "", "", "same/x/y", "same/x/y"),
        ("a/one", "fixed/one", "", "", "a/one", "fixed/one"),
        ("x/lvl/+", "lvl/+", "", "", "x/lvl/k", "lvl/k"),
        ("strip/#", "#", "", "", "strip/a/b", "a/b"),
        ("ps/#", "", "P/", "/S", "ps/a", "P/ps/a/S"),
        ("fps/#", "fixps", "P/", "/S", "fps/a", "P/fixps/S"),
        ("r/strip/#", "#", "", "", "r/strip/a/b", "a/b"),
        ("a/+/b/#", "+/b/#", "x/", "", "a/1/b/c/d", "x/1/b/c/d"),
        ("a/+/b/+", "+/b", "", "", "a/1/b/2", "1/b"),
        ("#", "#", "", "", "a", "a"),
        ("strip/#", "#", "all", "", "strip", "all"),
    ],
)
def test_the_table(source: str, target: str, prefix: str, suffix: str, topic: str, arrives: str) -> None:
    mapping = Mapping.of(source, target, prefix, suffix)
    assert mapping.matches(topic)
    assert mapping.map(topic) == arrives


@pytest.mark.parametrize(
    ("source", "target", "prefix", "error"),
    [
        ("q/#", "bad/+/z", "", 'must be a part of "q/#"'),
        ("q/+", "#", "", "must be a part"),
        ("q/#", "a/#/b", "", "whole last level"),
        ("q/#/x", "", "", "whole last level"),
        ("q/#", "", "p/#/", "wildcards"),
        ("q", "nul\0", "", "U\\+0000"),
    ],
)
def test_what_does_not_fit(source: str, target: str, prefix: str, error: str) -> None:
    with pytest.raises(MappingError, match=error):
        Mapping.of(source, target, prefix)


def test_an_example_shows_what_happens() -> None:
    assert Mapping.of("x/+/#", "", "up/").example() == "x/device/some/topic"
    words = Mapping.of("strip/#", "#").in_words()
    assert words == "strip/# -> #, such as strip/some/topic -> some/topic"


@pytest.mark.parametrize(
    ("mapping", "wanted"),
    [
        (Mapping.of("a/#"), "a/#"),
        (Mapping.of("a/#", "b"), "b"),
        (Mapping.of("strip/#", "#"), "#"),
        (Mapping.of("a/+/c", "", "p/"), "p/a/+/c"),
        (Mapping.of("a/#", "#", "p"), "#"),
        (Mapping.of("a/+", "", "", "/s"), "a/+/s"),
        (Mapping.of("a/#", "", "", "/s"), "a/#"),
        (Mapping.of("+/x", "", "p"), "+/x"),
    ],
)
def test_the_filter_of_all_mapped_topics(mapping: Mapping, wanted: str) -> None:
    assert mapping.target_filter() == wanted
    assert matches(wanted, mapping.map(mapping.example()))
