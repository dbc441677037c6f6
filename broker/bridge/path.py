"""The way a message has come, in a user property: so a bridge of MQTT 5.0 sees that it went in a circle."""

from __future__ import annotations

from dataclasses import replace

from ..packets.properties import Properties

NAME = "bridge-path"
"""The user property. Its value is the brokers that have passed the message on, with commas between them."""


def path_of(properties: Properties | None) -> tuple[str, ...]:
    """The brokers that have passed the message on, first to last."""
    if properties is None:
        return ()
    for name, value in properties.user_properties:
        if name == NAME:
            return tuple(value.split(","))
    return ()


def with_path(properties: Properties | None, path: tuple[str, ...]) -> Properties:
    """``properties`` with this path in place of the one they had."""
    if properties is None:
        return Properties(user_properties=((NAME, ",".join(path)),))
    others = tuple(pair for pair in properties.user_properties if pair[0] != NAME)
    return replace(properties, user_properties=(*others, (NAME, ",".join(path))))
