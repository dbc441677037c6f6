"""A subscription: what a session asked for with one topic filter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subscription:
    """As granted; the options are those of MQTT 5.0, at their defaults for older clients."""

    topic_filter: str
    """As the client wrote it, with ``$share/GROUP/`` where it is shared."""
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifier: int = 0
    """The subscription identifier, 0 where there is none."""
