"""Topic names and topic filters: which are valid, and which match (MQTT 5.0 section 4.7)."""

from __future__ import annotations

from itertools import zip_longest

SHARE = "$share/"
MAX_BYTES = 65_535


def topic_error(topic: str) -> str | None:
    """Why messages may not be published to ``topic``; None if they may."""
    if not topic:
        return "a topic name must have at least one character"  # [MQTT-4.7.3-1]
    if "+" in topic or "#" in topic:
        return "a topic name must not have the wildcards + and #"  # [MQTT-3.3.2-2]
    return _text_error(topic)


def filter_error(topic_filter: str) -> str | None:
    """Why ``topic_filter`` is not a topic filter; None if it is one. Shared ones (``$share/GROUP/...``)
    are."""
    if not topic_filter:
        return "a topic filter must have at least one character"  # [MQTT-4.7.3-1]
    if topic_filter.startswith(SHARE):
        group, _, rest = topic_filter[len(SHARE) :].partition("/")
        if not group or "+" in group or "#" in group:
            return (
                "a share name must have at least one character and no + or #"  # [MQTT-4.8.2-1] [MQTT-4.8.2-2]
            )
        if not rest:
            return "a shared subscription needs a topic filter after its share name"  # [MQTT-4.8.2-2]
        topic_filter = rest
    levels = topic_filter.split("/")
    last = len(levels) - 1
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != last):
            return "# must be the whole last level"  # [MQTT-4.7.1-1]
        if "+" in level and level != "+":
            return "+ must be a whole level"  # [MQTT-4.7.1-2]
    return _text_error(topic_filter)


def _text_error(text: str) -> str | None:
    if "\0" in text:
        return "a topic must not have the character U+0000"  # [MQTT-4.7.3-2]
    if len(text) * 4 > MAX_BYTES and len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        return f"a topic must not have more than {MAX_BYTES} bytes"  # [MQTT-4.7.3-3]
    return None


def split_share(topic_filter: str) -> tuple[str | None, str]:
    """The share name, or None, and the topic filter without it."""
    if topic_filter.startswith(SHARE):
        group, _, rest = topic_filter[len(SHARE) :].partition("/")
        return group, rest
    return None, topic_filter


def has_wildcard(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter


def overlap(one: str, other: str) -> bool:
    """Whether some topic matches both filters; neither is a shared one."""
    for mine, theirs in zip_longest(one.split("/"), other.split("/")):
        if "#" in (mine, theirs):
            return True
        if mine is None or theirs is None or (mine != theirs and "+" not in (mine, theirs)):
            return False
    return True


def matches(topic_filter: str, topic: str) -> bool:
    """Whether ``topic_filter`` matches ``topic``. ``a/#`` matches ``a`` too. A wildcard at the start never
    matches a topic that begins with ``$`` [MQTT-4.7.2-1]."""
    if topic[:1] == "$" and topic_filter[:1] in ("+", "#"):
        return False
    if not has_wildcard(topic_filter):
        return topic_filter == topic
    wanted = topic_filter.split("/")
    levels = topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels):
            return False
        if level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)
