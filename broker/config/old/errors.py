"""The error of a file that is not converted."""

from __future__ import annotations

from ..tree import Place


class ConvertError(Exception):
    """One line for people. Access control that is not understood is one reason: left out, it would open the
    broker."""


def not_understood(place: Place, key: str) -> ConvertError:
    """Access control that would be lost."""
    return ConvertError(f"{place}: {key}: access control that is not understood; correct or remove it")
