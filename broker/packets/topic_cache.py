"""A cache of topic names, from bytes to checked strings."""

from __future__ import annotations

from collections import Counter

from .errors import MalformedPacket, ProtocolError
from .primitives import text
from .reasons import ReasonCode

LONGEST_KEPT = 256


class TopicCache:
    """Remembers topic names that were already decoded and checked. All connections share one cache.

    So a topic in use costs one dict look-up, and is the same ``str`` object wherever it is used as a key. The
    cache is bounded: it is emptied when it has ``limit`` names, and names of more than 256 bytes are not
    kept.
    """

    __slots__ = ("limit", "limited", "max_levels", "names")

    def __init__(
        self, limit: int = 16_384, max_levels: int = 65_535, limited: Counter[str] | None = None
    ) -> None:
        self.limit = limit
        self.max_levels = max_levels
        """A topic of more levels is refused, and counted in ``limited``."""
        self.limited: Counter[str] = Counter() if limited is None else limited
        self.names: dict[bytes, str] = {}

    def add(self, raw: bytes) -> str:
        """The topic name in ``raw``, checked and remembered. Raises ProtocolError, also for an empty one."""
        topic = topic_name(text(raw))
        if raw.count(b"/") >= self.max_levels:
            self.limited["max_topic_levels"] += 1
            raise ProtocolError(
                f"the topic has more than {self.max_levels} levels", ReasonCode.TOPIC_NAME_INVALID
            )
        if len(raw) <= LONGEST_KEPT:
            if len(self.names) >= self.limit:
                self.names.clear()
            self.names[raw] = topic
        return topic


def topic_name(topic: str) -> str:
    """Returns ``topic`` if messages may be published to it; raises ProtocolError otherwise."""
    if not topic:  # [MQTT-4.7.3-1]
        raise ProtocolError("the topic name is empty")
    if "+" in topic or "#" in topic:  # [MQTT-3.3.2-2]
        # Not 0x90, topic name invalid: that is for one that "is correctly formed, but is not accepted".
        raise MalformedPacket(f"the topic name has wildcards: {topic!r}")
    return topic
