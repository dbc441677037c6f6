"""A row of the schema: one key, its type, default and help."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ..units import Kind, flag, path, text

Shape = Literal["one", "list", "map", "objects", "section"]

ANYTHING = Kind("any", "anything", str)


@dataclass(frozen=True, slots=True)
class Row:
    """One key."""

    key: str
    """Dotted. ``NAME`` is any name, ``[]`` the entries of a list."""
    kind: Kind
    default: str
    """As one would write it; empty where the key has none."""
    help: str
    shape: Shape = "one"
    """``map`` has any keys, ``objects`` a list of sections (rows ``key[].*``), ``section`` anything."""
    items: str = ""
    """For ``objects`` whose entries have the keys of another row's."""
    accepted: bool = False
    """Understood, so that a NanoMQ file loads, but without effect."""
    differs: str = ""
    """Served, but not as NanoMQ does it: how."""
    ours: bool = False
    """NanoMQ has no such key."""
    reload: bool = False
    """Whether a reload applies it; else it takes a restart."""
    environ: bool = False
    """``${NAME}`` in it is filled from the environment, also inside quotes."""

    @property
    def status(self) -> str:
        if self.accepted:
            return "accepted"
        return "differs" if self.differs else "served"


def under(prefix: str, *rows: Row, **common: Any) -> Iterator[Row]:
    """The rows with their keys below ``prefix``, and what they have in common."""
    for row in rows:
        yield dataclasses.replace(row, key=f"{prefix}.{row.key}", **common)


def ignored(key: str, words: str = "Tunes NanoMQ only.") -> Row:
    """A key or section that NanoMQ knows and that has no effect here."""
    return Row(key, ANYTHING, "", words, "section", accepted=True)


def tls_client(prefix: str, **common: Any) -> Iterator[Row]:
    """`tls {}` of something that connects to others."""
    unused = "NanoMQ reads `ssl` and never uses it; both spellings work here."
    authorities = "CA certificates for the server's certificate; by default the system's."
    yield from under(
        prefix,
        Row("enable", flag(), "true", "False: ignore the section.", ours=True),
        Row("keyfile", path(), "", "The private key of `certfile`.", differs=unused),
        Row(
            "certfile", path(), "", "The client certificate, for a server that asks for one.", differs=unused
        ),
        Row("cacertfile", path(), "", authorities, differs=unused),
        Row("key_password", text(secret=True), "", "The password of an encrypted private key.", ours=True),
        Row("verify", flag(), "true", "Check the server's certificate and its name.", ours=True),
        **common,
    )
