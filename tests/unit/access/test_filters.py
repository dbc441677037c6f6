"""What filters cover and share, against the definition: the topics they match."""

from __future__ import annotations

from itertools import product

import pytest

from pybroker.broker.access.filters import covers, filter_levels, name_levels, overlap
from pybroker.broker.routing.topics import filter_error, matches

NAMES = ["a", "b", "$x"]
TOPICS = ["/".join(levels) for length in (1, 2, 3, 4) for levels in product(NAMES, repeat=length)]
FILTERS = [
    text
    for length in (1, 2, 3)
    for levels in product(["a", "$x", "+", "#"], repeat=length)
    if not filter_error(text := "/".join(levels))
]
MATCHED = {text: {topic for topic in TOPICS if matches(text, topic)} for text in FILTERS}


@pytest.mark.parametrize("one", FILTERS)
def test_overlap_is_having_a_topic_in_common(one: str) -> None:
    for other in FILTERS:
        common = MATCHED[one] & MATCHED[other]
        assert overlap(filter_levels(one), filter_levels(other)) == bool(common), (one, other)


@pytest.mark.parametrize("wide", FILTERS)
def test_what_is_covered_has_no_topic_of_its_own(wide: str) -> None:
    for narrow in FILTERS:
        if covers(filter_levels(wide), filter_levels(narrow)):
            assert MATCHED[narrow] <= MATCHED[wide], (wide, narrow)


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_covers_itself_and_the_topics_it_matches(text: str) -> None:
    assert covers(filter_levels(text), filter_levels(text))
    for topic in TOPICS:
        assert covers(filter_levels(text), name_levels(topic)) == matches(text, topic), topic


def test_a_name_that_looks_like_a_wildcard_is_text() -> None:
    assert not covers(name_levels("+"), filter_levels("a"))
    assert not covers(name_levels("+"), filter_levels("+"))
    assert covers(name_levels("+"), name_levels("+"))
