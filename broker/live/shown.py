"""Converts data from clients for JSON."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import fields
from typing import Any


def text_of(payload: bytes, cut: bool) -> str:
    """The payload as text; with ``cut``, without an incomplete last character. Raises UnicodeDecodeError."""
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        if not cut or len(payload) - error.start >= 4:
            raise
        return payload[: error.start].decode()


def properties_of(properties: Any) -> dict[str, Any]:
    """The properties that are set, ready for JSON; bytes are in base64."""
    found = {}
    for field in fields(properties):
        value = getattr(properties, field.name)
        if value is None or value == ():
            continue
        found[field.name] = b64encode(value).decode() if isinstance(value, bytes) else value
    return found
