from __future__ import annotations

import pytest

from pybroker.broker.routing.topics import filter_error, matches, overlap, split_share, topic_error

MATCHES = [
    ("a/b", "a/b", True),
    ("a/b", "a/b/c", False),
    ("a/+", "a/b", True),
    ("a/+", "a", False),
    ("a/+", "a/", True),
    ("a/+", "a/b/c", False),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("a/#", "a", True),
    ("a/#", "a/b/c", True),
    ("a/#", "ab", False),
    ("#", "a/b", True),
    ("#", "$SYS/x", False),
    ("+/x", "$SYS/x", False),
    ("$SYS/#", "$SYS/x", True),
    ("$SYS/#", "$SYS", True),
    ("a/+/c", "a//c", True),
    ("é/温度", "é/温度", True),
]


@pytest.mark.parametrize(("topic_filter", "topic", "expected"), MATCHES)
def test_matches(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected


@pytest.mark.parametrize("good", ["a", "/", "a/+/b", "+", "#", "a/#", "$share/g/a/#", "$share/g//", " "])
def test_good_filters(good: str) -> None:
    assert filter_error(good) is None


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("", "at least one character"),
        ("a#", "whole last level"),
        ("#/a", "whole last level"),
        ("a/#/b", "whole last level"),
        ("a+", "whole level"),
        ("+a/b", "whole level"),
        ("a\0", "U+0000"),
        ("$share/g", "needs a topic filter"),
        ("$share/g/", "needs a topic filter"),
        ("$share//a", "share name"),
        ("$share/+/a", "share name"),
        ("$share/g/a#", "whole last level"),
        ("x" * 65_536, "65535 bytes"),
        ("温" * 30_000, "65535 bytes"),
    ],
)
def test_bad_filters_say_why(bad: str, words: str) -> None:
    error = filter_error(bad)
    assert error is not None
    assert words in error


@pytest.mark.parametrize(
    ("topic", "good"), [("a/b", True), ("", False), ("a/+", False), ("#", False), ("a\0b", False)]
)
def test_topic_names(topic: str, good: bool) -> None:
    assert (topic_error(topic) is None) is good


def test_split_share() -> None:
    assert split_share("$share/g/a/b") == ("g", "a/b")
    assert split_share("a/b") == (None, "a/b")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a/b", "a", False),
        ("a/#", "a", True),
        ("#", "x/y", True),
        ("a/+", "+/b", True),
        ("a/+", "a/b/c", False),
        ("a/+/#", "a/b", True),
        ("a/b/#", "a/c/#", False),
        ("+", "a/#", True),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is expected
