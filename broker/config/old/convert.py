"""Converts files of NanoMQ before 0.19 to the text of one of today's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from ..hocon import parse
from ..tree import Place
from .errors import ConvertError
from .flat_lines import flat_lines
from .recognise import old_keys
from .write import Tree, text_of


@dataclass(slots=True)
class Converted:
    """The result of a conversion."""

    tree: Tree = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Keys that could not be converted, and differences: one line each."""

    def note(self, place: Place, key: str, message: str) -> None:
        self.notes.append(f"{place}: {key}: {message}")

    def text(self, files: list[Path]) -> str:
        """The new file, with the notes in comments at its top."""
        head = [f"# Converted from {', '.join(map(str, files))} by `pybroker convert`."]
        if self.notes:
            head += ["# Differences:", *(f"#   {note}" for note in self.notes)]
        return "\n".join(head) + "\n\n" + text_of(self.tree)


def convert(files: list[Path]) -> Converted:
    """Read the files, each in whichever old format it is. Raises ConvertError."""
    from .flat import FlatFiles
    from .nested import convert_tree, flat_keys

    converted = Converted()
    flat = FlatFiles(converted)
    for file in files:
        lines = flat_lines(file)
        if lines is not None:
            flat.add(lines)
            continue
        try:
            root, _ = parse(file)
        except ConfigError as error:
            raise ConvertError(str(error)) from None
        if not any(True for _ in old_keys(root)):
            raise ConvertError(
                f"{file}: it has no old keys; `pybroker check --conf {file}` reads it unchanged"
            )
        convert_tree(root, converted)
        flat.add(flat_keys(root))
    flat.finish()
    return converted
