"""A subscription of a session to one topic filter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subscription:
    """The granted options. They are those of MQTT 5.0, with their defaults for older clients."""

    topic_filter: str
    """As the client wrote it, with ``$share/GROUP/`` if it is shared."""
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifier: int = 0
    """The subscription identifier; 0 if there is none."""
