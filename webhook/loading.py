"""Python callables that a configuration names: ``package.module:function``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any


class LoadError(Exception):
    """A callable could not be loaded; the message says which, and why."""


def load(reference: str) -> Callable[..., Any]:
    """Import and return the callable ``reference``. Raises LoadError."""
    module_name, colon, path = reference.partition(":")
    if not (module_name and colon and path):
        raise LoadError(f'"{reference}" is not of the form package.module:function')
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        hint = "install it, or name its directory in PYTHONPATH"
        raise LoadError(f'"{reference}": cannot import {module_name}: {error}; {hint}') from error
    except Exception as error:  # the import runs the module, which may raise anything
        raise LoadError(f'"{reference}": cannot import {module_name}: {error}') from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise LoadError(f'"{reference}": {module_name} has no {path}') from None
    if not callable(found):
        raise LoadError(f'"{reference}": {path} is not callable')
    if iscoroutinefunction(found):  # a coroutine is true, whatever it would return
        raise LoadError(f'"{reference}": {path} is an "async def"; it must be a plain function')
    checked: Callable[..., Any] = found
    return checked
