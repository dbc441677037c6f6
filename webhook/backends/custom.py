"""A backend that the configuration names as ``package.module:Class``."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, get_type_hints

from ..backend import Backend
from ..loading import LoadError, load
from ..settings import SettingsError, WebhookSettings

_FLAGS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def custom(settings: WebhookSettings) -> Backend:
    """Load the class and make it from its options. Raises SettingsError."""
    where = f"{settings.label}: backend"
    try:
        cls = load(settings.backend)
    except LoadError as error:
        raise SettingsError(f"{where}: {error}") from error
    if not isinstance(cls, type):
        raise SettingsError(f'{where}: "{settings.backend}" is not a class')
    for name in ("open", "send", "close"):
        if not iscoroutinefunction(getattr(cls, name, None)):
            raise SettingsError(f'{where}: "{settings.backend}" has no "async def {name}"')
    given = dict(settings.options.get("options", ()))
    options = getattr(cls, "Options", None)
    try:
        made: Backend = cls() if options is None and not given else cls(_options(options, given, settings))
    except SettingsError:
        raise
    except Exception as error:  # the class is not ours
        kind = type(error).__name__
        raise SettingsError(f'{where}: "{settings.backend}" cannot be made: {kind}: {error}') from error
    return made


def _options(cls: Any, given: dict[str, str], settings: WebhookSettings) -> Any:
    """The dataclass ``Options`` of the backend, from the texts of the file."""
    key = f"{settings.label}: options"
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise SettingsError(f'{key}: "{settings.backend}" takes none: it has no dataclass "Options"')
    types = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(fields) or 'none'}"
            raise SettingsError(f"{key}.{name}: unknown{hint}")
    for name, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise SettingsError(f"{key}.{name}: missing")
    values = {name: _value(text, types[name], f"{key}.{name}") for name, text in given.items()}
    return cls(**values)


def _value(text: str, kind: Any, key: str) -> Any:
    readers: dict[Any, tuple[Callable[[str], Any], str]] = {
        str: (str, "text"),
        int: (int, "a whole number"),
        float: (float, "a number"),
        bool: (lambda word: _FLAGS[word.lower()], "true or false"),
    }
    if kind not in readers:
        raise SettingsError(f"{key}: the type {kind} is not one of str, int, float and bool")
    read, allowed = readers[kind]
    try:
        return read(text)
    except (ValueError, KeyError):
        raise SettingsError(f'{key}: found "{text}"; allowed: {allowed}') from None
