"""What a message of MQTT 5.0 carries for bridges, in user properties: the brokers that it has passed, and an
identifier. Pure."""

from __future__ import annotations

from dataclasses import replace

from ..packets.model import Connect
from ..packets.properties import Properties

NAME = "bridge-path"
"""The user property. Its value is the brokers that have passed the message on, with commas between them. In
CONNECT of a bridge it is the broker that the bridge belongs to."""
IDENTIFIER = "bridge-id"
"""The user property that identifies a message. The first broker sets it from which the message can go several
ways, so all copies have the same."""


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


def identifier_of(properties: Properties | None) -> str:
    """The identifier of the message; empty if it has none."""
    if properties is not None:
        for name, value in properties.user_properties:
            if name == IDENTIFIER:
                return value
    return ""


def is_bridge(connect: Connect) -> bool:
    """Whether the client is a bridge of another broker, and says so."""
    if connect.bridge:
        return True
    properties = connect.properties
    return properties is not None and any(name == NAME for name, _ in properties.user_properties)
