"""Scans HOCON files token by token into a `MarkedText`: keys, values, their lines, and included files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from .errors import ConfigError, Problem
from .marked import MAX_DEPTH, MarkedText, syntax_error
from .tree import MissingInclude, Place, Text

# In access rules these stand for the client. Any other ${name} is a value of the file or the environment.
_LITERAL = r"\$\{(?:clientid|username)\}"
_STRING = r'"(?:[^"\\\n]|\\.)*"'
_COMMON = rf"""
  (?P<blank>[^\S\n]+)
| (?P<newline>\n)
| (?P<comment>(?:\#|//)[^\n]*)
| (?P<comma>,)
| (?P<open>[{{\[])
| (?P<close>[}}\]])
| (?P<long>\"{{3}}(?:(?!\"{{3}})[\s\S])*\"{{3,}})
| (?P<quoted>{_STRING})
| (?P<unclosed>")
| (?P<include>include[^\S\n]+(?P<how>(?:\w+\([^\S\n]*)*)(?P<file>{_STRING})[^\S\n]*\)*)
"""
_KEY = re.compile(
    _COMMON + r"""| (?P<assign>\+?=|:) | (?P<dot>\.) | (?P<word>(?:[^\s,{}\[\]"\#.=:+]|\+(?!=))+)""", re.X
)
_VALUE = re.compile(
    _COMMON
    + rf"""| (?P<assign>=)
           | (?P<substitution>(?!{_LITERAL})\$\{{\??[^}}\n]+\}})
           | (?P<word>(?:[^\s,{{}}\[\]"\#$]|{_LITERAL}|\$(?!\{{))+)""",
    re.X,
)
# Commas between members are optional in NanoMQ: { a = 1 b = 2 } is two of them.
_NEXT_MEMBER = re.compile(
    rf"""{_STRING}[^\S\n]*[=:{{\[]
       | (?:[\w@/$-]+|{_STRING}) (?:\.(?:[\w@/$-]+|{_STRING}))* [^\S\n]* (?:[={{]|:\s)""",
    re.X,
)


def scan(file: Path, environ: Mapping[str, str], within: tuple[str, ...] = ()) -> MarkedText:
    """Scan a file, which fills the section ``within``, and its includes.

    Raises `ConfigError` at the first text that is not HOCON. An include that cannot be read is noted in its
    section, and the reader decides whether it matters.
    """
    marked = MarkedText(environ, within)
    marked.place(Place(file))
    _File(marked, file, file, ()).run()
    return marked


class _File:
    """The scan of one file. After a key there is ``=`` or a bracket, then its value, then the next key."""

    def __init__(self, marked: MarkedText, file: Path, shown: Path, including: tuple[Path, ...]) -> None:
        self.marked = marked
        self.shown = shown
        """The path for messages."""
        self.open_files = (*including, file.resolve())
        self.text = _read(file, shown)
        self.line = 1
        self.depth = marked.depth
        """The number of brackets that were open before this file."""
        self.in_braces = False
        """Whether the whole file is in { }."""
        self.want = "value" if marked.in_list else "key"
        """The kind of the next token: ``key``, ``assign`` (the key may go on) or ``value``."""
        self.path: list[str] = []
        self.key_line = 0
        self.new_part = True
        """Whether the next word begins another part of the key's path."""
        self.has_value = False
        """Whether a part of the value was read already."""
        self.after_blank = False

    def run(self) -> None:
        position = 0
        while position < len(self.text):
            match = (_VALUE if self.want == "value" else _KEY).match(self.text, position)
            if match is None:
                found = self.text[position]
                raise self._error(f"{found!r} is not expected here; quote the text it belongs to")
            kind = "include" if match["include"] else str(match.lastgroup)
            if kind in ("word", "quoted") and self._begins_a_member(position):
                self._end_of_value()
                continue
            getattr(self, f"_{kind}")(match)
            self.after_blank = kind == "blank"
            position = match.end()
        self._end_of_member()
        if self.marked.depth > self.depth:
            bracket, place = self.marked.innermost
            raise syntax_error(place, f"this {bracket} is never closed")
        if self.in_braces:
            raise syntax_error(Place(self.shown, 1), "the { around the whole file is never closed")

    # -- tokens -------------------------------------------------------------------------------------------

    def _blank(self, match: re.Match[str]) -> None:
        if self.want == "value" and self.has_value:
            self.marked.blank()

    def _newline(self, match: re.Match[str]) -> None:
        if self.want == "value" and self.has_value:
            self._end_of_value()
        self.line += 1

    def _comment(self, match: re.Match[str]) -> None:
        if self.want == "value" and self.has_value and not self.after_blank and match[0][0] == "#":
            last = self.marked.marks[-1]
            if isinstance(last, Text) and not last.quoted:
                self.marked.cut_short.append(last)

    def _comma(self, match: re.Match[str]) -> None:
        self._end_of_member()

    def _open(self, match: re.Match[str]) -> None:
        if self.want == "key":
            if match[0] == "[" or self.marked.depth > self.depth or self.in_braces:
                raise self._error(f"{match[0]} has no key before it")
            self.in_braces = True
            return
        if self.want == "assign":
            self._finish_key()
        elif self.has_value and self.marked.in_list:
            self._end_of_value()
        self.marked.open(match[0], self._place)
        self.has_value = False
        self.want = "key" if match[0] == "{" else "value"

    def _close(self, match: re.Match[str]) -> None:
        self._end_of_member()
        if self.marked.depth > self.depth:
            self.marked.close(match[0], self._place)
            self.want, self.has_value = "value", True
        elif self.in_braces and match[0] == "}":
            self.in_braces = False
        else:
            raise self._error(f"this {match[0]} closes nothing")

    def _quoted(self, match: re.Match[str]) -> None:
        self._text(_unescape(match[0]), quoted=True)

    def _long(self, match: re.Match[str]) -> None:
        self._text(match[0][3:-3], quoted=True)
        self.line += match[0].count("\n")

    def _unclosed(self, match: re.Match[str]) -> None:
        raise self._error('this " is never closed on its line')

    def _word(self, match: re.Match[str]) -> None:
        self._text(match[0], quoted=False)

    def _text(self, text: str, quoted: bool) -> None:
        if self.want == "value":
            if quoted and self.has_value and self.marked.in_list:
                self._end_of_value()
            self.marked.value(Text(text, self._place, quoted))
            self.has_value = True
            return
        if self.want == "key":
            self.want, self.path, self.key_line, self.new_part = "assign", [], self.line, True
        if self.new_part:
            self.path.append(text)
        else:
            self.path[-1] += " " * self.after_blank + text
        self.new_part = False

    def _dot(self, match: re.Match[str]) -> None:
        if self.want != "assign" or self.new_part:
            raise self._error("a . has no name before it; quote a key that begins with a dot")
        self.new_part = True

    def _assign(self, match: re.Match[str]) -> None:
        if self.want != "assign":
            raise self._error(f"{match[0]} is not expected here; quote a value that begins with it")
        if match[0] == "+=":
            raise self._error(f"{self._name}: += is not supported; write the whole list")
        self._finish_key()
        self.want, self.has_value = "value", False

    def _substitution(self, match: re.Match[str]) -> None:
        self.marked.substitution(match[0], self._place)
        self.has_value = True

    def _include(self, match: re.Match[str]) -> None:
        if self.want == "assign":
            raise self._no_value()
        if self.has_value:
            self._end_of_value()
        name = _unescape(match["file"])
        if not set(match["how"].replace("(", " ").split()) <= {"required", "file"}:
            raise self._error(f'include takes a file: include "{name}"')
        as_section = self.want == "value" and not self.marked.in_list  # password = include "file"
        if as_section:
            self.marked.open("{", self._place)
        self._include_file(name)
        if as_section:
            self.marked.close("}", self._place)
            self.has_value = True

    # -- helpers ------------------------------------------------------------------------------------------

    @property
    def _place(self) -> Place:
        return Place(self.shown, self.line)

    @property
    def _name(self) -> str:
        return ".".join(self.path)

    def _error(self, message: str) -> ConfigError:
        return syntax_error(self._place, message)

    def _no_value(self) -> ConfigError:
        return syntax_error(Place(self.shown, self.key_line), f"{self._name} has no value")

    def _finish_key(self) -> None:
        if self.new_part:
            raise self._error(f"{self._name}. ends in a dot")
        self.marked.key(self.path, Place(self.shown, self.key_line))

    def _begins_a_member(self, position: int) -> bool:
        """Whether the text here is the next key, and not part of the value before it."""
        if self.want != "value" or self.marked.in_list or not _NEXT_MEMBER.match(self.text, position):
            return False
        if not self.has_value and self.line > self.key_line:
            raise self._no_value()  # "a =", and "b = 1" in the line below
        return self.has_value

    def _end_of_member(self) -> None:
        """A comma, a closing bracket or the end of the file."""
        if self.want == "assign" or (self.want == "value" and not self.has_value and not self.marked.in_list):
            raise self._no_value()
        if self.want == "value" and self.has_value:
            self._end_of_value()

    def _end_of_value(self) -> None:
        self.has_value = False
        if self.marked.in_list:
            self.marked.new_line(self._place)
        else:
            self.want = "key"

    def _include_file(self, name: str) -> None:
        """Include another file: the one beside this file, else the one in the working directory."""
        places = {self.shown.parent / name: None, Path(name): None}
        for candidate in places:
            if candidate.resolve() in self.open_files:
                raise self._error(f'include "{name}" includes itself')
            if len(self.open_files) > MAX_DEPTH:
                raise self._error(f"more than {MAX_DEPTH} files that include each other")
            if candidate.is_file() and os.access(candidate, os.R_OK):
                _File(self.marked, candidate, candidate, self.open_files).run()
                return
        reason = "cannot be read" if any(map(os.path.exists, places)) else "does not exist"
        looked_for = " and ".join(str(candidate) for candidate in places)
        message = f'include "{name}": the file {reason} (looked for {looked_for})'
        if self.marked.in_list:
            raise self._error(message)
        self.marked.missing(MissingInclude(self._place, message))


def _unescape(quoted: str) -> str:
    """The escapes of JSON. Anything else after a backslash stays unchanged, as in NanoMQ."""
    if "\\" not in quoted:
        return quoted[1:-1]
    kept = re.sub(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt])?', lambda match: match[0] if match[1] else "\\\\", quoted)
    return str(json.loads(kept, strict=False))


def _read(file: Path, shown: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        message = "no such file"
    except IsADirectoryError:
        message = "is a directory, not a file"
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x})"
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
    raise ConfigError([Problem(str(shown), "", message)])
