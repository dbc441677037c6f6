"""Converts the settings of amqtt's plugins from the file to amqtt's types."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from amqtt.plugins.base import BasePlugin
from amqtt.utils import import_string
from dacite import Config as DaciteConfig
from dacite import DaciteError, from_dict

from .errors import PluginError


def ready(path: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the plugin class at ``path``, with enums instead of their text. Raises PluginError if
    the class cannot be imported, or the settings are invalid."""
    try:
        plugin = import_string(path)
    except Exception as error:  # whatever its module does when it is imported
        raise PluginError(f"plugins: {path} cannot be imported: {error}") from error
    if not isinstance(plugin, type) or not issubclass(plugin, BasePlugin):
        raise PluginError(f"plugins: {path} is not a subclass of amqtt.plugins.base.BasePlugin")
    try:
        config: dict[str, Any] = _with_enums(plugin.Config, _plain(settings))
        from_dict(plugin.Config, config, DaciteConfig(strict=True))
    except (DaciteError, TypeError, ValueError) as error:
        raise PluginError(f"plugins: {path}: {error}") from error
    return config


def _plain(value: Any) -> Any:
    """Dicts where the settings have frozen mappings: amqtt checks for dict."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value


def _with_enums(kind: type, settings: dict[str, Any]) -> dict[str, Any]:
    """``settings`` for the dataclass ``kind``. Raises ValueError with the key whose text is no member of its
    enum."""
    try:
        hints = get_type_hints(kind)
    except NameError:  # a type that the module imports for type checkers only: dacite reports it
        return settings
    return {key: _as_hinted(key, hints.get(key), value) for key, value in settings.items()}


def _as_hinted(key: str, hint: Any, value: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        choices = [choice for choice in get_args(hint) if choice is not types.NoneType]
        if str in choices or len(choices) != 1:
            return value
        hint = choices[0]
    if isinstance(value, list):
        items = get_args(hint)
        return [_as_hinted(key, items[0], one) for one in value] if items else value
    if isinstance(value, dict) and is_dataclass(hint):
        return _with_enums(hint, value)  # type: ignore[arg-type]
    if isinstance(value, str | int) and isinstance(hint, type) and issubclass(hint, Enum):
        return value if isinstance(value, hint) else _member(key, hint, str(value))
    return value


def _member(key: str, kind: type[Enum], text: str) -> Enum:
    """By value or by name, whatever the case."""
    for member in kind:
        if text.lower() in (str(member.value).lower(), member.name.lower()):
            return member
    allowed = ", ".join(str(member.value) for member in kind)
    raise ValueError(f'{key}: found "{text}"; allowed: {allowed}')
