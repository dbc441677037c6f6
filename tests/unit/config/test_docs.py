"""docs/configuration.md and the schema say the same."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from pybroker.broker.config import SCHEMA
from pybroker.broker.config.schema.webhook import EVENTS

from .conftest import Files

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
TABLE_ROW = re.compile(
    r"^\| `([^`]+)` \| (.*?) \| (?:`(.*?)`)? ?\| ([a-z, ]+) \| (yes|no)? ?\| (.+) \|$", re.MULTILINE
)
ON_PAGE = {match[1]: match for match in TABLE_ROW.finditer(PAGE)}


def test_the_tables_are_what_the_script_writes() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "config_docs"))
    assert script["rendered"](PAGE) == PAGE, "run scripts/config_docs"


@pytest.mark.parametrize("row", SCHEMA, ids=lambda row: row.key)
def test_every_key_is_on_the_page(row) -> None:  # type: ignore[no-untyped-def]
    found = ON_PAGE[row.key]
    assert (found[3] or "") == row.default
    assert found[4] == row.status + (", ours" if row.ours else "")
    assert (found[5] == "yes") == (row.reload and not row.accepted)
    assert row.help in found[6]
    assert row.differs in found[6]


def test_no_key_on_the_page_is_unknown() -> None:
    assert set(ON_PAGE) == {row.key for row in SCHEMA}
    assert len(TABLE_ROW.findall(PAGE)) == len(SCHEMA)


def test_every_row_of_a_table_was_understood() -> None:
    lines = [line for line in PAGE.splitlines() if re.match(r"\| `(?!NANOMQ_)", line)]
    assert len(lines) == len(SCHEMA)


@pytest.mark.parametrize("row", [row for row in SCHEMA if row.default], ids=lambda row: row.key)
def test_a_default_is_a_value_that_may_be_written(row) -> None:  # type: ignore[no-untyped-def]
    for text in row.default.split(", "):
        row.kind.parse(text)


def test_every_event_is_on_the_page() -> None:
    assert set(re.findall(r"`(on_\w+)`", PAGE)) == set(EVENTS)


@pytest.mark.parametrize("example", re.findall(r"```hocon\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_load_without_warnings(files: Files, example: str) -> None:
    files.write('"ann": "secret"', "nanomq_pwd.conf")
    assert files.load(example).warnings == ()


def test_the_mistakes_shown_are_told_as_shown(files: Files) -> None:
    text = (
        "\n\nmqtt {\n  max_packet_size = 10MX\n}\nauth.acl.rules = [\n"
        '  { permit = allow, topics = ["a"] }\n\n  { permit = deny, topics = ["a/#/b"] }\n]'
    )
    assert "\n".join(files.errors(text)) in PAGE
