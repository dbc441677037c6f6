"""The text that pyhocon is given instead of the files: keys and values are numbers of the tables kept here.

pyhocon has no line numbers for keys, turns ``10s`` into an object, keeps the quotes of quoted keys, refuses
``@`` in a key and looks for an include beside the including file alone. So `scan` rewrites the files first: a
key becomes ``k<number>`` and a value ``"<number>"``, comments go, includes are put in place. What is left is
structure, and that is pyhocon's: merging, concatenation, substitution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .errors import ConfigError, Problem
from .tree import MissingInclude, Place, Text

MAX_DEPTH = 64
TOO_DEEP = f"more than {MAX_DEPTH} sections and lists inside each other"
"""The largest depth of sections in sections, and of files in files: more than anybody needs, and fewer than
would trouble the parser."""

NAMES = ("auth", "password")
"""The section whose keys are names that may contain dots: user ``a`` may exist beside user ``a.b``."""

PLACE_KEY, MISSING_KEY = "at", "missing"
"""Keys that no file has. They note the place of each section, and its missing includes."""


class MarkedText:
    """The text that grows while files are scanned. There is one for a main file and its includes; ``within``
    is the section that the main file fills."""

    def __init__(self, environ: Mapping[str, str], within: tuple[str, ...] = ()) -> None:
        self.keys: list[str] = []
        self.marks: list[Text | Place | MissingInclude] = []
        self.cut_short: list[Text] = []
        """Unquoted values that a ``#`` ended, as in ``topic = a/#``."""
        self._environ = environ
        self._numbers: dict[str, int] = {}
        self._from_environment: dict[str, int] = {}
        self._out: list[str] = []
        self._places: list[Place | None] = [None]
        self._stack: list[tuple[str, Place]] = []
        self._sections = [within]
        """The paths of the brackets that are open."""
        self._path = within
        """The path of the last key."""

    def finish(self) -> str:
        """The whole text."""
        # A substitution prefers a value of the file, so the values of the environment come first.
        environment = "".join(f'{key} = "<{mark}>"\n' for key, mark in self._from_environment.items())
        self._places[:0] = [None] * len(self._from_environment)
        return environment + "".join(self._out)

    def place_of(self, line: int) -> Place | None:
        """The origin of a line of the finished text, from 1."""
        return self._places[line - 1] if 0 < line <= len(self._places) else None

    def is_from_environment(self, key: str, mark: int) -> bool:
        """Whether this top-level key exists only for a ``${NAME}``."""
        return self._from_environment.get(key) == mark

    # -- where we are -------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Brackets that are open."""
        return len(self._stack)

    @property
    def in_list(self) -> bool:
        return bool(self._stack) and self._stack[-1][0] == "["

    @property
    def innermost(self) -> tuple[str, Place]:
        """The bracket that was opened last."""
        return self._stack[-1]

    # -- what is written ----------------------------------------------------------------------------------

    def key(self, path: Sequence[str], place: Place) -> None:
        self.new_line(place)
        section = self._sections[-1]
        self._path = (*section, *path)
        if len(self._path) > MAX_DEPTH:
            raise syntax_error(place, TOO_DEEP)
        start = len(NAMES) - len(section)
        if self._path[: len(NAMES)] == NAMES and 0 <= start < len(path):
            path = [*path[:start], ".".join(path[start:])]
        self._out.append(f"{'.'.join(map(self._key, path))} = ")

    def value(self, text: Text) -> None:
        self._out.append(self._mark(text))

    def blank(self) -> None:
        """White space between two parts of one value."""
        self._out.append(" ")

    def new_line(self, place: Place) -> None:
        """Ends a member or an item."""
        self._out.append("\n")
        self._places.append(place)

    def place(self, place: Place) -> None:
        """The place of the section that has just been opened."""
        self.new_line(place)
        self._out.append(f"{PLACE_KEY} = {self._mark(place)}")

    def missing(self, include: MissingInclude) -> None:
        self.new_line(include.place)
        self._out.append(f"{MISSING_KEY}{len(self.marks)} = {self._mark(include)}")

    def open(self, bracket: str, place: Place) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise syntax_error(place, TOO_DEEP)
        self._stack.append((bracket, place))
        self._sections.append(self._path)
        self._out.append(bracket)
        if bracket == "{":
            self.place(place)
        else:
            self._out.append(self._mark(place))
            self.new_line(place)

    def close(self, bracket: str, place: Place) -> None:
        opened, where = self._stack.pop()
        self._path = self._sections.pop()
        if opened + bracket not in ("{}", "[]"):
            raise syntax_error(place, f"{bracket} found, but the {opened} of line {where.line} is not closed")
        self.new_line(place)
        self._out.append(bracket)

    def substitution(self, written: str, place: Place) -> None:
        """``${path}`` or ``${?path}``."""
        optional = written.startswith("${?")
        path = [part.strip().strip('"') for part in written[3 if optional else 2 : -1].split(".")]
        if len(path) > MAX_DEPTH:
            raise syntax_error(place, TOO_DEEP)
        keys = [self._key(part) for part in path]
        if len(path) == 1 and path[0] in self._environ and keys[0] not in self._from_environment:
            self._mark(Text(self._environ[path[0]], place, quoted=True))
            self._from_environment[keys[0]] = len(self.marks) - 1
        self._out.append(f"${{{'?' * optional}{'.'.join(keys)}}}")

    def _mark(self, what: Text | Place | MissingInclude) -> str:
        self.marks.append(what)
        return f'"<{len(self.marks) - 1}>"'

    def _key(self, name: str) -> str:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.keys)
            self.keys.append(name)
        return f"k{number}"


def syntax_error(place: Place, message: str) -> ConfigError:
    return ConfigError([Problem(str(place), "", message)])
