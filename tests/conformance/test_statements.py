"""No statement without a test or a reason, no marker without a statement, and a page that says so."""

from __future__ import annotations

from collections import Counter

from .page import PAGE, render, tables
from .statements import marked_tests, statements


def test_identifiers_are_unique() -> None:
    counted = Counter(statement.name for statement in statements())
    assert [name for name, count in counted.items() if count > 1] == []
    assert {name.partition(":")[0] for name in counted} == {"3.1.1", "5.0"}


def test_markers_name_statements_that_exist() -> None:
    known = {statement.name for statement in statements()}
    unknown = [(t.file, t.name, name) for t in marked_tests() for name in t.shows if name not in known]
    assert unknown == []


def test_every_statement_is_shown_or_says_why_not() -> None:
    shown = {name for test in marked_tests() for name in test.shows}
    missing = [s.name for s in statements() if not (s.name in shown or s.client or s.untested)]
    assert missing == []


def test_nothing_is_both_shown_and_said_to_be_untested() -> None:
    shown = {name for test in marked_tests() for name in test.shows}
    assert [s.name for s in statements() if s.untested and s.name in shown] == []


def test_the_page_is_up_to_date() -> None:
    assert tables(PAGE.read_text(encoding="utf-8")) == tables(render()), (
        "docs/conformance.md is behind the tests: run scripts/conformance_page"
    )
