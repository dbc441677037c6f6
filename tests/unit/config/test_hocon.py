"""From text to a tree that knows its lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyhocon import ConfigFactory

from pybroker.broker.config.errors import ConfigError
from pybroker.broker.config.hocon import parse
from pybroker.broker.config.plain import read as read_plain
from pybroker.broker.config.scan import scan
from pybroker.broker.config.tree import Items, Node, Section, Text

from .conftest import Files


def plain(node: Node) -> Any:
    """The tree as Python, every value as text."""
    if isinstance(node, Section):
        return {key: plain(value) for key, value in node.values.items()}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return node.text


def lines(node: Node, path: str = "") -> dict[str, int]:
    """The line of every single value."""
    if isinstance(node, Text):
        return {path: node.place.line}
    pairs = node.values.items() if isinstance(node, Section) else enumerate(node.items)
    found: dict[str, int] = {}
    for key, value in pairs:
        found |= lines(value, f"{path}.{key}".lstrip("."))
    return found


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param("# only\n// comments", {}, id="comments"),
        pytest.param("a = 1", {"a": "1"}, id="equals"),
        pytest.param("a : 1", {"a": "1"}, id="colon"),
        pytest.param("a { b = 1 }", {"a": {"b": "1"}}, id="section"),
        pytest.param("a = { b = 1 }", {"a": {"b": "1"}}, id="equals and section"),
        pytest.param("a: {b: 1}", {"a": {"b": "1"}}, id="colon and section"),
        pytest.param("a\n{\n b = 1\n}", {"a": {"b": "1"}}, id="brace on the next line"),
        pytest.param("a [1, 2]", {"a": ["1", "2"]}, id="list without equals"),
        pytest.param("a =\n  1", {"a": "1"}, id="value on the next line"),
        pytest.param("{ a = 1 }", {"a": "1"}, id="whole file in braces"),
        pytest.param('{"a": {"b": [1, "c"]}}', {"a": {"b": ["1", "c"]}}, id="json"),
        pytest.param("a.b.c = 1", {"a": {"b": {"c": "1"}}}, id="dotted"),
        pytest.param("a.b { c.d = 1 }", {"a": {"b": {"c": {"d": "1"}}}}, id="dotted section"),
        pytest.param("a { b = 1 }\na { c = 2 }", {"a": {"b": "1", "c": "2"}}, id="merged"),
        pytest.param("a.x = 1\na { y = 2 }", {"a": {"x": "1", "y": "2"}}, id="dotted and merged"),
        pytest.param("a = 1\na = 2", {"a": "2"}, id="the last one counts"),
        pytest.param("a = [1]\na = [2]", {"a": ["2"]}, id="the last list counts"),
        pytest.param('"a.b" = 1', {"a.b": "1"}, id="quoted dot"),
        pytest.param('"ann@example.org" = x', {"ann@example.org": "x"}, id="quoted at"),
        pytest.param("ann@example = x", {"ann@example": "x"}, id="at"),
        pytest.param('"a b".c = x', {"a b": {"c": "x"}}, id="quoted part"),
        pytest.param('"" = x', {"": "x"}, id="empty key"),
        pytest.param('"a\\"b" = x', {'a"b': "x"}, id="escaped quote in a key"),
        pytest.param('"\\u00e4#{}=" = x', {"ä#{}=": "x"}, id="anything in a key"),
        pytest.param("john smith = x", {"john smith": "x"}, id="space in a key"),
        pytest.param("$SYS = x", {"$SYS": "x"}, id="dollar in a key"),
        pytest.param(
            "at = 1\nmissing0 = 2\nk0 = 3", {"at": "1", "missing0": "2", "k0": "3"}, id="our own marks"
        ),
        pytest.param("a = 10s", {"a": "10s"}, id="time stays text"),
        pytest.param("a = 256MB", {"a": "256MB"}, id="size stays text"),
        pytest.param("a = 0.0.0.0:1883", {"a": "0.0.0.0:1883"}, id="address"),
        pytest.param("a = :1883", {"a": ":1883"}, id="port"),
        pytest.param("a = http://h:80/p?q=1", {"a": "http://h:80/p?q=1"}, id="unquoted URL"),
        pytest.param("a = p@ss!*?&^%", {"a": "p@ss!*?&^%"}, id="signs"),
        pytest.param("a = $b", {"a": "$b"}, id="dollar"),
        pytest.param("a = two words  # rest", {"a": "two words"}, id="two words"),
        pytest.param('a = "x" y', {"a": "x y"}, id="joined"),
        pytest.param('a = ""', {"a": ""}, id="empty text"),
        pytest.param('a = "#no // comment"', {"a": "#no // comment"}, id="quoted comment"),
        pytest.param('a = "\\t\\n\\\\ \\" \\u0041 \\d"', {"a": '\t\n\\ " A \\d'}, id="escapes"),
        pytest.param('a = """x\n"y" """', {"a": 'x\n"y" '}, id="long text"),
        pytest.param("a = 1, b = 2", {"a": "1", "b": "2"}, id="comma"),
        pytest.param("a { b = 1 c = 2 }", {"a": {"b": "1", "c": "2"}}, id="no comma"),
        pytest.param('{"a": "x" "b": 1 "c" {}}', {"a": "x", "b": "1", "c": {}}, id="json without commas"),
        pytest.param("a { x {} y {} }", {"a": {"x": {}, "y": {}}}, id="sections without commas"),
        pytest.param("a = [1, 2,]", {"a": ["1", "2"]}, id="trailing comma"),
        pytest.param("a = [\n1\n2\n\n3\n]", {"a": ["1", "2", "3"]}, id="lines as commas"),
        pytest.param("a = [{b=1} {b=2}]", {"a": [{"b": "1"}, {"b": "2"}]}, id="list without commas"),
        pytest.param('a = ["x" "y"]', {"a": ["x", "y"]}, id="texts without commas"),
        pytest.param("a = [[1, 2], []]", {"a": [["1", "2"], []]}, id="lists in lists"),
        pytest.param("a = []", {"a": []}, id="empty list"),
        pytest.param("a {}", {"a": {}}, id="empty section"),
        pytest.param("a = 1\na = null", {}, id="null takes back"),
        pytest.param('a = "null"', {"a": "null"}, id="quoted null"),
        pytest.param("a = 1\nb = ${a}", {"a": "1", "b": "1"}, id="substitution"),
        pytest.param("b = ${a}\na = 1", {"a": "1", "b": "1"}, id="substitution of what follows"),
        pytest.param(
            'a { h = x }\nb = "http://"${a.h}":80"', {"a": {"h": "x"}, "b": "http://x:80"}, id="joined URL"
        ),
        pytest.param("a = ${?nothing}\nb = 1", {"b": "1"}, id="optional substitution"),
        pytest.param(
            "b = { x = 1 }\na = ${b} { y = 2 }", {"a": {"x": "1", "y": "2"}, "b": {"x": "1"}}, id="section"
        ),
        pytest.param("a = [1]\nb = ${a} [2]", {"a": ["1"], "b": ["1", "2"]}, id="joined lists"),
        pytest.param('a = "${x}"', {"a": "${x}"}, id="quoted substitution"),
        pytest.param("a = ${ENV}", {"a": "of the environment"}, id="environment"),
        pytest.param(
            "ENV = own\na = ${ENV}", {"ENV": "own", "a": "own"}, id="the file before the environment"
        ),
        pytest.param("a = 1\r\nb = 2\r\n", {"a": "1", "b": "2"}, id="windows"),
        pytest.param("\ufeffa = 1", {"a": "1"}, id="byte order mark"),
    ],
)
def test_tree(files: Files, text: str, tree: Any) -> None:
    root, _ = parse(files.write(text), {"ENV": "of the environment"})
    assert plain(root) == tree


def test_the_clients_own_names_are_no_substitutions(files: Files) -> None:
    root, _ = parse(files.write("a = [t/${clientid}, ${username}, x]"), {"username": "not this"})
    assert plain(root) == {"a": ["t/${clientid}", "${username}", "x"]}


def test_lines(files: Files) -> None:
    text = """\
# first
a {
    b = 1
    c.d = [
        x
        { e = 1, f = 2 }
    ]
}
g = \"\"\"long
text\"\"\"
h =
    late
a.b = 2
"""
    root, _ = parse(files.write(text))
    assert lines(root) == {"a.b": 13, "a.c.d.0": 5, "a.c.d.1.e": 6, "a.c.d.1.f": 6, "g": 9, "h": 12}
    section = root.section("a")
    assert section is not None
    assert section.place.line == 2


def test_a_value_cut_short_by_a_comment_is_told(files: Files) -> None:
    _, cut = parse(files.write('a = t/#\nb = 1 # fine\nc = "x"# fine\nd = [x/#, y\n]\ne = +/# # z'))
    assert [(text.text, text.place.line) for text in cut] == [("t/", 1), ("x/", 4), ("+/", 6)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = {", "nanomq.conf:1: this { is never closed"),
        ("a = [\n1", "nanomq.conf:1: this [ is never closed"),
        ("a = 1\n}", "nanomq.conf:2: this } closes nothing"),
        ("a {\n b = [1\n}", "nanomq.conf:3: } found, but the [ of line 2 is not closed"),
        ("{ a = 1", "nanomq.conf:1: the { around the whole file is never closed"),
        ("\n\nmqtt", "nanomq.conf:3: mqtt has no value"),
        ("a =", "nanomq.conf:1: a has no value"),
        ("a =\nb = 2", "nanomq.conf:1: a has no value"),
        ("a {\n b =\n}", "nanomq.conf:2: b has no value"),
        ("a = , b = 1", "nanomq.conf:1: a has no value"),
        ("a b.c, d", "nanomq.conf:1: a b.c has no value"),
        ('a = "x', 'nanomq.conf:1: this " is never closed on its line'),
        ('a = "x\ny"', 'nanomq.conf:1: this " is never closed on its line'),
        ("a. = 1", "nanomq.conf:1: a. ends in a dot"),
        (".a = 1", "nanomq.conf:1: a . has no name before it; quote a key that begins with a dot"),
        ("a..b = 1", "nanomq.conf:1: a . has no name before it; quote a key that begins with a dot"),
        ("= 1", "nanomq.conf:1: = is not expected here; quote a value that begins with it"),
        ("a = = 1", "nanomq.conf:1: = is not expected here; quote a value that begins with it"),
        ("a += 1", "nanomq.conf:1: a: += is not supported; write the whole list"),
        ("a {\n { b = 1 }\n}", "nanomq.conf:2: { has no key before it"),
        ("[1]", "nanomq.conf:1: [ has no key before it"),
        ("a = 1\nb = ${nowhere}", "nanomq.conf:2: ${nowhere} is neither in the file nor in the environment"),
        (
            "a = 1\nb = ${no.where}",
            "nanomq.conf:2: ${no.where} is neither in the file nor in the environment",
        ),
        ("a = ${b}\nb = ${a}", "nanomq.conf:1: ${b} and ${a}: refers to itself"),
        ("a = ${", "nanomq.conf:1: '$' is not expected here; quote the text it belongs to"),
        ("a = [1] x", "nanomq.conf:1: values of different kinds (text, list, section) cannot be joined"),
        (
            "a = 1\na = { b = 1 }",
            "nanomq.conf: a: values of different kinds (text, list, section) cannot be joined",
        ),
        ('include url("http://x/y")', 'nanomq.conf:1: include takes a file: include "http://x/y"'),
        ("a {" * 70, "nanomq.conf:1: more than 64 sections and lists inside each other"),
        ("\n" + "a." * 20_000 + "a = 1", "nanomq.conf:2: more than 64 sections and lists inside each other"),
        ("a = ${" + "a." * 20_000 + "a}", "nanomq.conf:1: more than 64 sections and lists inside each other"),
    ],
)
def test_what_is_no_hocon(files: Files, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(files.write(text), {})
    assert files.relative([str(caught.value)]) == [message]


def test_a_file_that_cannot_be_read(files: Files, tmp_path: Path) -> None:
    latin = tmp_path / "latin.conf"
    latin.write_bytes(b"a = caf\xe9")
    for file, message in [
        (tmp_path / "none.conf", "none.conf: no such file"),
        (tmp_path, f"{tmp_path}: is a directory, not a file"),
        (latin, "latin.conf: is not UTF-8 text (byte 7 is 0xe9)"),
    ]:
        with pytest.raises(ConfigError) as caught:
            parse(file)
        assert files.relative([str(caught.value)]) == [message]


class TestInclude:
    @pytest.mark.parametrize(
        "text",
        [
            'a { include "more.conf" }',
            'a = {include "more.conf"}',
            'a { include required(file("more.conf")) }',
            'a { include file("more.conf")\n}',
            'a = include "more.conf"',
        ],
    )
    def test_fills_a_section(self, files: Files, text: str) -> None:
        files.write("b = 1\nc = 2", "more.conf")
        root, _ = parse(files.write(text))
        assert plain(root) == {"a": {"b": "1", "c": "2"}}
        assert lines(root) == {"a.b": 1, "a.c": 2}

    def test_at_the_top_and_before_and_after_other_keys(self, files: Files) -> None:
        files.write("{ b = 1, c = 1 }", "more.conf")
        root, _ = parse(files.write('b = 0\ninclude "more.conf"\nc = 2'))
        assert plain(root) == {"b": "1", "c": "2"}

    def test_in_a_list(self, files: Files) -> None:
        files.write("2\n3", "more.conf")
        root, _ = parse(files.write('a = [\n1\ninclude "more.conf"\n4 ]'))
        assert plain(root) == {"a": ["1", "2", "3", "4"]}

    def test_beside_the_including_file_before_the_working_directory(
        self, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files.write("x = working directory", "cwd/more.conf")
        files.write("y = working directory", "cwd/only-here.conf")
        files.write("x = beside", "etc/more.conf")
        monkeypatch.chdir(tmp_path / "cwd")
        root, _ = parse(files.write('include "more.conf"\ninclude "only-here.conf"', "etc/main.conf"))
        assert plain(root) == {"x": "beside", "y": "working directory"}

    def test_is_beside_the_file_that_says_it(self, files: Files) -> None:
        files.write('include "leaf.conf"', "sub/middle.conf")
        files.write("x = 1", "sub/leaf.conf")
        root, _ = parse(files.write('include "sub/middle.conf"'))
        assert plain(root) == {"x": "1"}
        assert str(root.values["x"].place).endswith("sub/leaf.conf:1")

    def test_an_absolute_one(self, files: Files) -> None:
        more = files.write("x = 1", "elsewhere/more.conf")
        root, _ = parse(files.write(f'include "{more}"'))
        assert plain(root) == {"x": "1"}

    def test_a_missing_one_is_left_to_the_reader_of_its_section(self, files: Files, tmp_path: Path) -> None:
        root, _ = parse(files.write('x = 1\na {\n include "none.conf"\n include "nor.conf"\n}'))
        section = root.section("a")
        assert section is not None
        assert [missing.place.line for missing in section.missing] == [3, 4]
        assert section.missing[0].message == (
            f'include "none.conf": the file does not exist (looked for {tmp_path}/none.conf and none.conf)'
        )
        assert not root.missing

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_one_that_may_not_be_read(self, files: Files) -> None:
        files.write("x = 1", "more.conf").chmod(0)
        root, _ = parse(files.write('include "more.conf"'))
        assert "the file cannot be read" in root.missing[0].message

    def test_a_missing_one_in_a_list(self, files: Files) -> None:
        with pytest.raises(
            ConfigError, match=r'nanomq\.conf:1: include "none\.conf": the file does not exist'
        ):
            parse(files.write('a = [include "none.conf"]'))

    @pytest.mark.parametrize("text", ['include "nanomq.conf"', 'a { include "b.conf" }'])
    def test_one_that_includes_itself(self, files: Files, text: str) -> None:
        files.write('\nb { include "nanomq.conf" }', "b.conf")
        with pytest.raises(ConfigError) as caught:
            parse(files.write(text))
        where = "nanomq.conf:1" if "nanomq" in text else "b.conf:2"
        assert files.relative([str(caught.value)]) == [f'{where}: include "nanomq.conf" includes itself']

    def test_a_chain_without_end(self, files: Files) -> None:
        for number in range(400):
            files.write(f'include "{number + 1}.conf"', f"{number}.conf")
        with pytest.raises(ConfigError, match="more than 64 files that include each other"):
            parse(files.folder / "0.conf")

    def test_the_same_file_twice_is_no_cycle(self, files: Files) -> None:
        files.write("x = 1", "more.conf")
        root, _ = parse(files.write('a { include "more.conf" }\nb { include "more.conf" }'))
        assert plain(root) == {"a": {"x": "1"}, "b": {"x": "1"}}

    def test_brackets_belong_to_one_file(self, files: Files) -> None:
        files.write("x = 1 }", "more.conf")
        with pytest.raises(ConfigError, match=r"more\.conf:1: this } closes nothing"):
            parse(files.write('a { include "more.conf"'))
        files.write("x {", "more.conf")
        with pytest.raises(ConfigError, match=r"more\.conf:1: this { is never closed"):
            parse(files.write('a { include "more.conf" } }'))


PIECES = st.sampled_from(
    [
        *("a", "b.c", '"q.r"', '"y"', '"x', '"""', "1s", "null", "é", "\ufeff"),
        *("=", ":", "+=", ",", ".", "{", "}", "[", "]", "\n", " ", "\\", "$"),
        *("#", "//", "${a}", "${?b}", "include", 'include "none"'),
    ]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60))
def test_any_text_gives_a_tree_or_a_config_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "any.conf"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    told = f"{file}"
    try:
        parse(file, {})
    except ConfigError as error:
        told = str(error)
    assert told.startswith(f"{file}")


PARTS = st.sampled_from(["a", "b", '"c.d"', "a.b", "b.a", "a.b.a"])


def members(values: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    return st.lists(st.builds("{} = {}".format, PARTS, values), max_size=most).map("\n".join)


VALUES = st.recursive(
    st.sampled_from(["1", "x y", '"z" 1', "null", '"""l\n"""']),
    lambda below: (
        st.lists(below, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | members(below, 3).map("{{ {} }}".format)
    ),
    max_leaves=6,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(members(VALUES, 6))
def test_what_is_read_without_pyhocon_is_what_pyhocon_reads(tmp_path: Path, text: str) -> None:
    file = tmp_path / "any.conf"
    file.write_text(text, encoding="utf-8")
    marked = scan(file, {}).finish()
    tree = read_plain(marked)
    if tree is not None:
        assert json.dumps(tree) == json.dumps(ConfigFactory.parse_string(marked))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a { b = 1, c = [2, { d = x y }] }\na.b = 3\na { c = [] }", True),
        ("a = ${b}\nb = 1", False),
        ("a = { b = 1 } { c = 2 }", False),
        ("a = [1] [2]", False),
        ("a = 1\na.b = 2", False),
        ("a = 1\na { b = 2 }", False),
        ("a { b = 2 }\na = 1", False),
    ],
)
def test_what_needs_pyhocon(files: Files, text: str, plain: bool) -> None:
    assert (read_plain(scan(files.write(text), {}).finish()) is not None) is plain


NAMES = st.text(min_size=1, max_size=12)
TREES = st.recursive(
    st.text(max_size=12),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(NAMES, children, max_size=3),
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(NAMES, TREES, max_size=4))
def test_json_is_read_as_it_was_written(tmp_path: Path, tree: Any) -> None:
    file = tmp_path / "any.conf"
    file.write_text(json.dumps(tree), encoding="utf-8")
    root, _ = parse(file, {})
    assert plain(root) == tree
