"""docs/conformance.md: the text in conformance_head.md, and a table of each specification's statements."""

from __future__ import annotations

from collections import defaultdict

from .statements import HERE, ROOT, MarkedTest, Statement, marked_tests, statements

PAGE = ROOT / "docs" / "conformance.md"
HEAD = HERE / "conformance_head.md"
START = "<!-- From here on written by scripts/conformance_page. -->"


def render() -> str:
    """The whole page."""
    by_name: dict[str, list[MarkedTest]] = defaultdict(list)
    for test in marked_tests():
        for name in dict.fromkeys(test.shows):
            by_name[name].append(test)
    everything = statements()
    lines = [HEAD.read_text(encoding="utf-8").rstrip(), "", START, "", *_summary(everything, by_name)]
    for version in ("3.1.1", "5.0"):
        lines += ["", f"## MQTT {version}", "", "| Statement | What it says | Shown by |", "|---|---|---|"]
        lines += [_row(s, by_name[s.name]) for s in everything if s.version == version]
    return "\n".join(lines) + "\n"


def tables(page: str) -> str:
    """The part of the page that the tests determine."""
    return page.partition(START)[2]


def _summary(everything: list[Statement], by_name: dict[str, list[MarkedTest]]) -> list[str]:
    lines = [
        "| | Statements | Shown by tests | Bind the client only, no test | Not to be tested, with a reason |"
    ]
    lines.append("|---|---|---|---|---|")
    for version in ("3.1.1", "5.0"):
        own = [s for s in everything if s.version == version]
        shown = [s for s in own if by_name[s.name]]
        client = [s for s in own if s.client and not by_name[s.name]]
        untested = [s for s in own if s.untested]
        lines.append(f"| MQTT {version} | {len(own)} | {len(shown)} | {len(client)} | {len(untested)} |")
    return lines


def _row(statement: Statement, tests: list[MarkedTest]) -> str:
    if tests:
        shown = ", ".join(f"[{t.name.removeprefix('test_')}](../{t.file})" for t in tests)
        if statement.client:
            shown = f"Binds the client; what the broker does: {shown}"
    else:
        shown = statement.untested or "Binds the client only."
    return f"| {statement.id} | {statement.says} | {shown} |"
